"""Accounts and homes, as the databases and the file systems have them."""

from __future__ import annotations

from collections import Counter

import pytest
from testinfra.host import Host

from nodeproof.facts.node import NodeFacts
from nodeproof.facts.shadow import PasswordData, Shadow
from nodeproof.facts.users import Accounts, AccountsData
from nodeproof.layers.hardening.asked import needs
from nodeproof.layers.hardening.facts import LOOSE_HOMES
from nodeproof.layers.hardening.settings import Settings, Topic

NO_SHELL = ("/nologin", "/false", "/bin/sync", "/sbin/shutdown", "/sbin/halt")


@pytest.fixture(scope="module")
def accounts(host: Host) -> AccountsData:
    """Return what the account databases say."""
    return Accounts().process(host.check_output(Accounts().command()).splitlines())


@pytest.mark.control("NP-HRD-07")
def test_system_accounts_are_closed(
    host: Host, settings: Settings, node: NodeFacts, accounts: AccountsData
) -> None:
    """Nobody notices who logs in as an account that no person has."""
    needs(settings, Topic.ACCOUNTS)
    shadow = Shadow().process(host.check_output(Shadow().command()).splitlines())
    keep = {node.login_user, *settings.accounts.keep_shell}
    system = [u for u in accounts.users.values() if 0 < u.uid < 1000 and u.name not in keep]
    assert system, "getent lists no system account"
    closed = PasswordData("locked")
    wrong = [f"{u.name} has {u.shell}" for u in system if not u.shell.endswith(NO_SHELL)]
    wrong += [u.name for u in system if shadow.get(u.name, closed).state != "locked"]
    assert not wrong, f"can be logged in as: {', '.join(wrong)}"


@pytest.mark.control("NP-HRD-08")
def test_only_root_is_root(host: Host, settings: Settings, accounts: AccountsData) -> None:
    """A second account with root's number is root under a name that nobody looks for."""
    needs(settings, Topic.ACCOUNTS)
    lines = host.check_output("getent passwd").splitlines()
    assert [line.split(":")[0] for line in lines if line.split(":")[2] == "0"] == ["root"]
    assert accounts.users["root"].group == "root"
    groups = host.check_output("getent group").splitlines()
    assert [line.split(":")[0] for line in groups if line.split(":")[2] == "0"] == ["root"]
    of_root = [u.name for u in accounts.users.values() if u.group == "root" and u.name != "root"]
    assert not of_root, f"root's group is the own group of {', '.join(of_root)}"


@pytest.mark.control("NP-HRD-09")
@pytest.mark.parametrize(
    ("database", "field"), [("passwd", 0), ("passwd", 2), ("group", 0), ("group", 2)]
)
def test_names_and_numbers_are_unique(
    host: Host, settings: Settings, database: str, field: int
) -> None:
    """Files and rights belong to numbers: two accounts with one are one."""
    needs(settings, Topic.ACCOUNTS)
    lines = host.check_output("cat /etc/%s", database).splitlines()
    twice = [one for one, n in Counter(line.split(":")[field] for line in lines).items() if n > 1]
    assert not twice, f"more than once in {database}: {', '.join(twice)}"


@pytest.mark.control("NP-HRD-09")
def test_groups_of_accounts_exist(settings: Settings, accounts: AccountsData) -> None:
    """A number without a group is given to the next group that is made, with all its files."""
    needs(settings, Topic.ACCOUNTS)
    missing = [u.name for u in accounts.users.values() if u.group.isdigit()]
    assert not missing, f"have a group that does not exist: {', '.join(missing)}"
    readers = accounts.members("shadow")
    assert not readers, f"may read all hashes: {', '.join(sorted(readers))}"


@pytest.mark.control("NP-HRD-10")
def test_homes_are_their_owners(host: Host, settings: Settings) -> None:
    """Who writes to another's dot file acts as them at their next login."""
    needs(settings, Topic.ACCOUNTS)
    if not settings.accounts.tight_homes:
        pytest.skip("hardening.accounts.tight_homes is false")
    loose = host.check_output(LOOSE_HOMES)
    assert not loose, f"others may enter, or write to: {loose}"


@pytest.mark.control("NP-HRD-10")
def test_homes_exist(host: Host, settings: Settings) -> None:
    """A home that is missing, or another's, makes a login end up in somebody else's files."""
    needs(settings, Topic.ACCOUNTS)
    wrong = host.check_output(
        "awk -F : '$3 >= 1000 && $3 < 60000 && $7 !~ /\\/(nologin|false)$/ { print $1 \":\" $6 }' "
        "/etc/passwd | while IFS=: read -r user home; do "
        '[ "$(stat -L -c %U -- "$home" 2>/dev/null)" = "$user" ] || echo "$user"; done'
    )
    assert not wrong, f"have no home of their own: {wrong}"
