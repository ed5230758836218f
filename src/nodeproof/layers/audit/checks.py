"""The audit trail, as the kernel records it (not as its files read)."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.audit.facts import UNREAD, Audit, AuditData
from nodeproof.layers.audit.found import found
from nodeproof.layers.audit.rules import STRICT, Found, Rules, groups, missing, same, wanted
from nodeproof.layers.audit.settings import Settings, auditd_conf

BACKLOG = 8192
"""What CIS asks of the kernel's arguments."""
KEYS = [
    pytest.param(key, marks=pytest.mark.control("NP-AUD-05")) if "accel" in one.file else key
    for key, one in groups().items()
]


@pytest.fixture(scope="module")
def audit(host: Host) -> AuditData:
    """Return what the kernel records, and what the files say that it shall."""
    said: AuditData = asked(host, Audit)
    return said


@pytest.fixture(scope="module")
def live(node: NodeFacts) -> None:
    """Skip where there is no kernel of its own to ask."""
    if node.is_container:
        pytest.skip("a container shares its host's kernel, and that records for the host")


@pytest.fixture(scope="module")
def there(host: Host, settings: Settings) -> Found:
    """Return what the node has that rules can be about."""
    return found(settings, lambda fact, **arguments: asked(host, fact, **arguments))


@pytest.fixture(scope="module")
def rules(settings: Settings, there: Found) -> Rules:
    """Return the rules that the node must have."""
    assert there.syscalls.get("b64"), "audit knows no system calls; is auditd installed?"
    return wanted(settings.level, there)


def asked(host: Host, fact: Any, **arguments: Any) -> Any:
    """Return what a fact says of the node."""
    command = fact().command(**arguments)
    text = command if isinstance(command, str) else command.get_raw_value()
    lines = host.check_output("sh -c %s", text)
    return fact().process(lines.splitlines()) if lines else fact.default()


@pytest.mark.control("NP-AUD-01")
def test_auditd_runs(host: Host, live: None, audit: AuditData, distribution: Distribution) -> None:
    """What nobody takes from the kernel is lost as soon as its buffer is full."""
    unit = distribution.units["audit"]
    state = host.check_output("systemctl show -p ActiveState,UnitFileState -- %s", unit)
    assert "ActiveState=active" in state, f"{unit} does not run"
    assert "UnitFileState=enabled" in state, f"{unit} does not start at boot"
    assert audit.status.get("enabled") in ("1", "2"), "the kernel records nothing (enabled 0)"
    assert audit.status.get("pid", "0") != "0", "nobody takes events from the kernel"


@pytest.mark.control("NP-AUD-01")
def test_packages_installed(host: Host, settings: Settings, distribution: Distribution) -> None:
    """Rules without the programs that load and read them record nothing."""
    names = [*distribution.packages["audit"]]
    names += distribution.packages["audit_strict"] if settings.level == STRICT else ()
    lacking = [name for name in names if not host.package(name).is_installed]
    assert not lacking, f"not installed: {', '.join(lacking)}"


@pytest.mark.control("NP-AUD-02")
def test_kernel_records_from_its_start(live: None, node: NodeFacts, settings: Settings) -> None:
    """A process that began before auditd is not recorded unless the kernel was told at boot."""
    if settings.level < STRICT:
        pytest.skip("asked for at level 2; the kernel's arguments are the boot loader's")
    arguments = dict(word.partition("=")[::2] for word in node.cmdline.split())
    limit = arguments.get("audit_backlog_limit", "64")
    assert arguments.get("audit") == "1", "the kernel was started without audit=1"
    enough = limit.isdigit() and int(limit) >= BACKLOG
    assert enough, f"the kernel was started with audit_backlog_limit={limit}, less than {BACKLOG}"


@pytest.mark.control("NP-AUD-02")
def test_backlog_as_asked(live: None, audit: AuditData, settings: Settings) -> None:
    """Events that find no room in the kernel are lost."""
    assert audit.status.get("backlog_limit") == str(settings.backlog)


@pytest.mark.control("NP-AUD-03")
def test_events_kept_as_asked(host: Host, settings: Settings) -> None:
    """A log that is full ends the record, or the node."""
    lines = host.check_output("cat /etc/audit/auditd.conf").splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    said = {key.strip().lower(): value.strip().lower() for key, _, value in pairs}
    asked_for = auditd_conf(settings)
    assert {key: said.get(key) for key in asked_for} == asked_for


@pytest.mark.control("NP-AUD-03")
def test_auditd_has_taken_up_its_files(host: Host, live: None) -> None:
    """What is on disk is kept by nobody until the running daemon has read it."""
    assert host.file("/run/auditd.pid").exists, "auditd does not run"
    unread = host.check_output(UNREAD)
    assert not unread, f"auditd has not been restarted since these changed: {unread}"


@pytest.mark.control("NP-AUD-04")
def test_rules_written(audit: AuditData, rules: Rules) -> None:
    """What the files do not say is not recorded after the next boot."""
    lacking = missing(rules.lines, audit.asked)
    assert not lacking, f"no file says: {'; '.join(lacking)}"
    here, whole = ({same(line) for line in lines} for lines in (audit.asked, audit.whole))
    assert here == whole, "audit.rules, which is loaded at boot, is not what the files say"


@pytest.mark.control("NP-AUD-04")
@pytest.mark.parametrize("key", KEYS)
def test_rules_loaded(
    live: None, audit: AuditData, rules: Rules, settings: Settings, key: str
) -> None:
    """Only what the running kernel was told is recorded."""
    if groups()[key].level > settings.level:
        pytest.skip(f"asked for at level {groups()[key].level}")
    if key not in rules.by_key:
        pytest.skip("the node has nothing that these rules are about")
    lacking = missing(rules.by_key[key], audit.loaded)
    assert not lacking, f"not loaded: {'; '.join(lacking)}"


@pytest.mark.control("NP-AUD-04")
def test_nothing_loaded_by_hand(live: None, audit: AuditData) -> None:
    """A rule that somebody loaded can hide from the record what the others are for."""
    extra = missing(audit.loaded, audit.asked)
    assert not extra, f"loaded, and in no file: {'; '.join(extra)}"


@pytest.mark.control("NP-AUD-05")
def test_models_and_users_exist(host: Host, settings: Settings, there: Found) -> None:
    """A directory or user that does not exist is one that no rule is about."""
    absent = [path for path in settings.model_folders if path not in there.models]
    assert not absent, f"not there: {', '.join(absent)}"
    unknown = [name for name in settings.device_users if not host.user(name).exists]
    assert not unknown, f"unknown users: {', '.join(unknown)}"


@pytest.mark.control("NP-AUD-06")
def test_rules_locked_as_asked(live: None, audit: AuditData, settings: Settings) -> None:
    """Who can change rules can switch them off before, and on again after."""
    locked = audit.status.get("enabled") == "2"
    assert locked is settings.immutable, (
        "the rules can be changed" if settings.immutable else "the rules are locked until a reboot"
    )


@pytest.mark.control("NP-AUD-07")
def test_log_and_tools_only_for_root(host: Host) -> None:
    """Who can write the log decides what happened; who reads it learns what is watched."""
    loose = host.check_output(
        "find /var/log/audit /etc/audit ! -type l \\( ! -user root -o -perm /027 \\)"
    )
    assert not loose, f"not root's, or open to others: {loose}"
    tools = " ".join(f"/usr/sbin/{name}" for name in ("auditctl", "auditd", "augenrules"))
    tools = host.check_output(f"find -L {tools} ! -user root -o -perm /022")
    assert not tools, f"not root's, or writable by others: {tools}"
