"""The system, as it runs."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.facts.users import Accounts, AccountsData, SudoRules
from nodeproof.layers.system.settings import OtherAdmins, Settings, Sudo
from nodeproof.operations.users import foreign


@pytest.fixture(scope="module")
def accounts(host: Host) -> AccountsData:
    """Return what the account databases say."""
    return Accounts().process(host.check_output(Accounts().command()).splitlines())


@pytest.mark.control("NP-SYS-01")
def test_packages_installed(
    settings: Settings, packages: PackagesData, distribution: Distribution
) -> None:
    """What was asked for is installed."""
    needed = distribution.packages["accounts"] + distribution.packages["time"]
    missing = {*settings.packages, *needed} - packages.installed.keys()
    assert not missing, f"not installed: {', '.join(sorted(missing))}"


@pytest.mark.control("NP-SYS-01")
def test_packages_whole(packages: PackagesData) -> None:
    """A half-configured package is a service that may not start after the next reboot."""
    assert packages.installed, "dpkg lists no package"
    assert not packages.broken, f"half installed: {', '.join(packages.broken)}"


@pytest.mark.control("NP-SYS-02")
def test_time_zone(host: Host, settings: Settings) -> None:
    """Logs of many nodes can only be compared when they tell the same time."""
    path = host.check_output("readlink -f /etc/localtime")
    wanted = host.check_output("readlink -f /usr/share/zoneinfo/%s", settings.timezone)
    assert path == wanted


@pytest.mark.control("NP-SYS-03")
def test_time_service_runs(host: Host, node: NodeFacts, distribution: Distribution) -> None:
    """Certificates, logs and Kerberos need the right time, also after a reboot."""
    if node.is_container:
        pytest.skip("a container has its host's clock")
    unit = distribution.units["time"]
    state = host.check_output("systemctl show -p ActiveState,UnitFileState -- %s", unit)
    assert "ActiveState=active" in state, f"{unit} does not run"
    assert "UnitFileState=enabled" in state, f"{unit} does not start at boot"


@pytest.mark.control("NP-SYS-03")
def test_time_servers_used(host: Host, node: NodeFacts, settings: Settings) -> None:
    """The running daemon asks the servers that were chosen, not only a file that names them."""
    if node.is_container:
        pytest.skip("a container has its host's clock")
    known = host.check_output("chronyc -c -N sources -a")
    names = {line.split(",")[2] for line in known.splitlines()}
    missing = set(settings.ntp_servers) - names
    assert not missing, f"chronyd does not ask {', '.join(sorted(missing))}"


@pytest.mark.control("NP-SYS-04")
def test_host_name(host: Host, settings: Settings) -> None:
    """Schedulers and logs know a node by its name, which must survive a reboot."""
    if settings.hostname is None:
        pytest.skip("system.hostname is not set")
    names = host.check_output("uname -n; cat /etc/hostname").split()
    assert names == [settings.hostname] * 2


@pytest.mark.control("NP-SYS-05")
def test_accounts_as_asked(settings: Settings, accounts: AccountsData) -> None:
    """Exactly the accounts asked for exist, with their shells and groups."""
    wrong = []
    for name, asked in settings.users.items():
        found = accounts.users.get(name)
        if (found is not None) != asked.present:
            wrong.append(f"{name} {'is missing' if asked.present else 'still exists'}")
        elif found is not None and found.shell != asked.shell:
            wrong.append(f"{name} has the shell {found.shell}")
        elif found is not None and (missing := set(asked.groups) - found.groups - {found.group}):
            wrong.append(f"{name} is not in {', '.join(sorted(missing))}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-SYS-06")
def test_ssh_keys_as_asked(host: Host, settings: Settings) -> None:
    """A key that was not asked for is a door that nobody watches."""
    wrong = []
    for name, asked in settings.users.items():
        if not asked.present or asked.keys is None:
            continue
        script = "cd ~%s && cat .ssh/authorized_keys .ssh/authorized_keys2 2>/dev/null; true"
        found = {line for line in host.check_output(script % name).splitlines() if line.strip()}
        if found != set(asked.keys):
            extra, missing = len(found - set(asked.keys)), len(set(asked.keys) - found)
            wrong.append(f"{name}: {extra} keys too many, {missing} missing")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-SYS-07")
def test_only_named_administrators(
    host: Host,
    settings: Settings,
    accounts: AccountsData,
    node: NodeFacts,
    distribution: Distribution,
) -> None:
    """Whoever can become root owns the node; nobody else may, by group or by file."""
    if settings.other_admins is OtherAdmins.KEEP:
        pytest.skip("system.other_admins is keep")
    asked = {name for name, user in settings.users.items() if user.sudo is not Sudo.NO}
    allowed = {"root", node.login_user, *asked}
    members = accounts.members(distribution.admin_group) - allowed
    wrong = [f"{name} is in group {distribution.admin_group}" for name in sorted(members)]
    rules = SudoRules().process(host.check_output(SudoRules().command()).splitlines())
    assert rules, "no sudoers file could be read"
    for rule in rules:
        for name in sorted(foreign(rule, allowed, {distribution.admin_group})):
            wrong.append(f"{name} may by {rule.file}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-SYS-07")
def test_named_administrators_can(host: Host, settings: Settings) -> None:
    """An administrator who cannot become root is locked out of the work."""
    cannot = []
    for name, user in settings.users.items():
        if user.sudo is Sudo.PASSWORDLESS and user.present:
            tried = host.run("runuser -u %s -- sudo -n true", name)
            cannot += [name] if tried.failed else []
    assert not cannot, f"cannot become root: {', '.join(cannot)}"


@pytest.mark.control("NP-SYS-08")
def test_sudoers_valid_and_tight(host: Host) -> None:
    """A sudoers file that others can write makes them root; a broken one locks everybody out."""
    assert host.run("visudo -c").succeeded, host.run("visudo -c").stderr
    loose = host.check_output(
        "find /etc/sudoers /etc/sudoers.d ! -user root -o ! -type l -perm /022"
    )
    assert not loose, f"not root's, or writable by others: {loose}"
