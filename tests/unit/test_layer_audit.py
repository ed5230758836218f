"""The audit layer: which rules a node gets, when two say the same, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError, OperationValueError
from pyinfra.context import ctx_host

from nodeproof.facts.files import FileState, FileStateData
from nodeproof.layers.audit import certificates, operations
from nodeproof.layers.audit.facts import (
    FOUND,
    Audit,
    AuditData,
    KnownSyscalls,
    Places,
    PlacesData,
    Privileged,
)
from nodeproof.layers.audit.found import asked, found, too_many
from nodeproof.layers.audit.operations import FIRST, LAST, OURS, with_keys
from nodeproof.layers.audit.rules import Found, candidates, groups, missing, same, wanted
from nodeproof.layers.audit.seal import Sealed
from nodeproof.layers.audit.settings import Remote, Settings, auditd_conf, exceptions

LISTED = """\
-w /etc/pam.d -p wa -k identity
-a always,exit -F arch=b64 -S clock_settime -F a0=0x0 -F key=time-change
-a always,exit -F arch=b64 -S execve -C uid!=euid -F auid!=-1 -F key=user_emulation
-a always,exit -F arch=b64 -S rename,unlink,unlinkat -F auid>=1000 -F auid!=-1 -F key=delete
-a always,exit -S all -F path=/usr/bin/sudo -F perm=x -F auid>=1000 -F auid!=-1 -F key=privileged
-a always,exit -S all -F dir=/dev/dri -F perm=rw -F uid!=0 -F gid!=44 -F key=accelerator-open
-a always,exit -F arch=b32 -S open -F exit=-EACCES -F auid>=1000 -F auid!=-1 -F key=access
""".splitlines()
"""As auditctl 3.0.9 and 4.0.2 list on Linux 6.18 what is written below."""
WRITTEN = """\
-w /etc/pam.d/ -p wa -k identity
-a always,exit -F arch=b64 -S clock_settime -F a0=0x0 -k time-change
-a always,exit -F arch=b64 -S execve -C euid!=uid -F auid!=unset -k user_emulation
-a always,exit -F arch=b64 -S unlink,unlinkat,rename -F auid>=1000 -F auid!=unset -k delete
-a always,exit -F path=/usr/bin/sudo -F perm=x -F auid>=1000 -F auid!=unset -k privileged
-a always,exit -F dir=/dev/dri -F perm=rw -F uid!=0 -F gid!=44 -k accelerator-open
-a always,exit -F arch=b32 -S open -F exit=-EACCES -F auid>=1000 -F auid!=unset -k access
""".splitlines()


@pytest.mark.parametrize(("written", "listed"), [*zip(WRITTEN, LISTED, strict=True)])
def test_a_rule_is_known_as_it_is_listed(written: str, listed: str) -> None:
    assert same(written) == same(listed)
    assert missing([written], [listed]) == []
    assert missing([written], [one for one in LISTED if one != listed]) == [written]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-w /a/b -p wa -k k", "-w /a/b -p w -k k"),
        ("-w /a/b -p wa -k k", "-w /a/c -p wa -k k"),
        ("-w /a/b -p wa -k k", "-w /a/b -p wa -k l"),
        ("-a always,exit -F arch=b64 -S open -k k", "-a always,exit -F arch=b32 -S open -k k"),
        ("-a always,exit -F arch=b64 -S open -k k", "-a never,exit -F arch=b64 -S open -k k"),
        ("-a always,exit -F arch=b64 -S open -k k", "-a always,exit -F arch=b64 -S creat -k k"),
        ("-a always,exit -F uid!=0 -F perm=r -k k", "-a always,exit -F uid=0 -F perm=r -k k"),
        ("-a always,exit -F dir=/a -F perm=r", "-a always,exit -F dir=/a -F perm=r -F gid!=4"),
    ],
)
def test_rules_that_differ_are_not_the_same(one: str, other: str) -> None:
    assert same(one) != same(other)


@pytest.mark.parametrize("line", ["", "# -w /a", "-D", "-b 8192", "-e 2", "--backlog_wait_time 1"])
def test_other_lines_are_no_rules(line: str) -> None:
    assert same(line) is None
    assert missing([line], []) == []


# Which rules

SYSCALLS = {"b64": frozenset({"chmod", "adjtimex"}), "b32": frozenset({"chmod"})}


def of(level: int, **there: Any) -> dict[str, tuple[str, ...]]:
    values: dict[str, Any] = {"syscalls": {}, "watchable": frozenset(), "programs": {}, **there}
    return dict(wanted(level, Found(**values)).by_key)


def test_nothing_is_said_about_what_is_not_there() -> None:
    assert of(2) == {}
    assert of(0, syscalls=SYSCALLS, watchable=frozenset({"/etc/passwd"})) == {}


def test_only_known_system_calls_and_architectures() -> None:
    lines = of(2, syscalls=SYSCALLS)["perm_mod"]
    assert [line.split(" -F auid")[0] for line in lines] == [
        "-a always,exit -F arch=b64 -S chmod",
        "-a always,exit -F arch=b32 -S chmod",
    ]
    assert "perm_mod" not in of(1, syscalls=SYSCALLS)


def test_services_change_the_clock_all_the_time() -> None:
    (line,) = of(1, syscalls=SYSCALLS)["time-change"]
    assert line.endswith("-F auid>=1000 -F auid!=unset -k time-change")
    (line,) = of(2, syscalls=SYSCALLS)["time-change"]
    assert "auid" not in line


def test_models_are_read_often() -> None:
    assert of(1, models=("/srv/models",))["model-weights"] == (
        "-w /srv/models -p wa -k model-weights",
    )
    assert of(2, models=("/srv/models",))["model-weights"] == (
        "-w /srv/models -p rwa -k model-weights",
    )


def test_who_is_expected_to_open_devices() -> None:
    lines = of(1, devices=("/dev/nvidia0", "/dev/dri/"), users=(64030,), groups=(44, 105))
    but = "-F uid!=0 -F uid!=64030 -F auid!=64030 -F gid!=44 -F gid!=105 -k accelerator-open"
    assert lines["accelerator-open"] == (
        f"-a always,exit -F path=/dev/nvidia0 -F perm=rw {but}",
        f"-a always,exit -F dir=/dev/dri -F perm=rw {but}",
    )
    many = [f"user{number}" for number in range(30)]
    assert too_many(Settings(device_users=many))
    assert not too_many(Settings(device_users=many[:20]))


def test_programs_by_where_their_links_lead() -> None:
    there = {"/usr/bin/amd-smi": "/opt/rocm-7/bin/amd-smi"}
    (line,) = of(1, programs=there)["accelerator-mode"]
    assert line == (
        "-a always,exit -F path=/opt/rocm-7/bin/amd-smi -F perm=x -F euid=0 -F auid>=1000 "
        "-F auid!=unset -k accelerator-mode"
    )


def test_all_of_the_table_can_be_asked_for() -> None:
    paths, programs = candidates(2)
    every = frozenset(
        name for one in groups().values() for calls in one.syscalls for name in calls.names
    )
    whole = of(
        2,
        syscalls={"b64": every, "b32": every},
        watchable=frozenset(paths),
        programs={path: path for path in programs},
        devices=("/dev/kfd",),
        models=("/srv/m",),
        privileged=("/usr/bin/sudo",),
    )
    assert list(whole) == list(groups())
    assert all(same(line) for lines in whole.values() for line in lines)


def test_names_of_files() -> None:
    files = wanted(2, Found(SYSCALLS, frozenset({"/etc/passwd"}), {}, privileged=("/bin/su",)))
    names = [f"{name.replace('-', '-nodeproof-', 1)}.rules" for name in files.by_file]
    assert names == [f"{n}.rules" for n in ("30-nodeproof-system", "50-nodeproof-strict",
                                            "60-nodeproof-privileged")]  # fmt: skip
    assert all(OURS.fullmatch(name) for name in (*names, FIRST, LAST))
    assert not OURS.fullmatch("audit.rules")
    assert sorted([LAST, "audit.rules", FIRST])[-1] == LAST, "the last -b counts"


# What a node has


def answers(**values: Any) -> Any:
    known = {Places: PlacesData(), KnownSyscalls: {}, Privileged: ("/usr/bin/su",), **values}
    return lambda fact, **arguments: known[fact]


def test_before_auditd_is_there_all_system_calls_are_taken_for_known() -> None:
    assert found(Settings(level=2), answers()).syscalls["b64"] >= {"chmod", "fchmodat2"}
    assert found(Settings(level=2), answers()).privileged == ("/usr/bin/su",)
    assert found(Settings(), answers()).privileged == ()


def test_what_a_node_is_asked_about() -> None:
    words = asked(Settings(model_folders=["/srv/m"], device_users=["slurm"])).split()
    assert {"path:/etc/passwd", "model:/srv/m", "user:slurm", "group:render"} <= {*words}


def test_the_script_tells_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("")
    (tmp_path / "link").symlink_to("program")
    (tmp_path / "models").mkdir()
    words = [
        f"path:{tmp_path}/absent",
        f"path:{tmp_path}/absent/below",
        f"program:{tmp_path}/link",
        f"program:{tmp_path}/none",
        f"model:{tmp_path}/models",
        f"model:{tmp_path}/none",
        *("user:root", "user:nobody-of-that-name", "group:root", "other:x"),
    ]
    command = ["dash", "-c", FOUND, "sh", "--", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = Places().process(done.stdout.splitlines())
    assert said.paths == {f"{tmp_path}/absent"}
    assert said.programs == {f"{tmp_path}/link": f"{tmp_path}/program"}
    assert (said.models, said.users, said.groups) == (
        (f"{tmp_path}/models",),
        {"root": 0},
        {"root": 0},
    )


def test_facts_of_this_machine() -> None:
    for fact in (KnownSyscalls, Audit, Sealed):
        command = fact().command()
        done = subprocess.run(
            ["dash", "-c", command.get_raw_value()], capture_output=True, text=True, check=True
        )
        fact().process(done.stdout.splitlines())


# auditd.conf

CONF = "# comment\nlog_file = /var/log/audit/audit.log\nnum_logs = 5\nNum_Logs = 6\n"


def test_keys_are_set_once_and_others_stay() -> None:
    text = with_keys(CONF, {"num_logs": "10", "new": "x"})
    assert text == "# comment\nlog_file = /var/log/audit/audit.log\nnum_logs = 10\nnew = x\n"
    assert with_keys(text, {"num_logs": "10", "new": "X"}) == text
    assert with_keys(CONF, {}) == CONF


@pytest.mark.parametrize(
    ("asked_for", "action", "reasons"),
    [
        ({}, "rotate", 0),
        ({"level": 2}, "halt", 0),
        ({"level": 2, "roles": ["slurm"]}, "rotate", 4),
        ({"level": 2, "when_full": "suspend"}, "suspend", 2),
        ({"roles": ["training"], "when_full": "halt"}, "halt", 2),
        ({"level": 0}, "rotate", 0),
    ],
)
def test_what_a_full_disk_does(asked_for: dict[str, Any], action: str, reasons: int) -> None:
    settings = Settings.model_validate(asked_for)
    assert auditd_conf(settings)["disk_full_action"] == action
    assert len(exceptions(settings)) == reasons
    assert all(one.reason and one.compensation for one in exceptions(settings))


def test_space_is_left_for_the_warning_before_the_action() -> None:
    said = auditd_conf(Settings(log_mb=6))
    assert 0 < int(said["admin_space_left"]) < int(said["space_left"])


@pytest.mark.parametrize(
    "asked_for",
    [
        {"level": 3},
        {"level": "2"},
        {"model_folders": ["/srv"]},
        {"model_folders": ["/srv/"]},
        {"model_folders": ["/srv/a b"]},
        {"device_users": ["a,b"]},
        {"when_full": "ignore"},
        {"seal_for": "auditor.pem"},
        {"remote": {"host": "log.example"}},
        {"remote": {"host": "log_example", "ca_file": "/ca.pem"}},
        {"remote": {"host": "log.example", "ca_file": "/ca.pem", "how": "journal-upload"}},
        {"remote": {"host": "a", "ca_file": "/c", "own": {"certificate_file": "/c"}}},
        {"log_mb": 1},
    ],
)
def test_settings_refused(asked_for: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(asked_for)


# Operations


class Node:
    """A node that answers for facts and listens to no-operations."""

    name = "node1"

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.noops: list[str] = []

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        return self.facts.get(fact.__name__)

    def noop(self, reason: str) -> None:
        self.noops.append(reason)


class Written:
    """An operation that has run."""

    def __init__(self, *, changed: bool = False) -> None:
        self.changed = changed

    def is_complete(self) -> bool:
        return True

    def did_change(self) -> bool:
        return self.changed


RULE = "-w /etc/passwd -p wa -k identity"
FILES = {FIRST: ("-c", "-i"), "30-nodeproof-system.rules": (RULE,), LAST: ("-b 8192",)}
RIGHT = AuditData(
    {"enabled": "1", "backlog_limit": "8192"}, (RULE,), FILES, ("-b 8192", "-c", "-i", RULE)
)


def changed(state: AuditData, **more: Any) -> bool:
    given = {"unit": "auditd.service", "backlog": 8192, "container": False, "after": Written()}
    node = Node(Audit=state)
    with ctx_host.use(node):
        made = list(operations.loaded._inner(**{**given, **more}))
    assert bool(made) is not bool(node.noops)
    return bool(made)


@pytest.mark.parametrize(
    ("change", "loads"),
    [
        ({}, False),
        ({"loaded": ()}, True),
        ({"loaded": (RULE, "-a never,exit -F path=/etc/passwd -F perm=wa")}, True),
        ({"status": {"enabled": "1", "backlog_limit": "64"}}, True),
        ({"whole": ("-b 8192", "-c", "-i")}, True),
        ({"files": {**FILES, LAST: ("-b 8192", "-e 2")}}, True),
        ({"status": {"enabled": "2", "backlog_limit": "64"}, "loaded": ()}, False),
        ({"files": {**FILES, "mine.rules": ("-w /nowhere/x -p wa",)}}, True),
    ],
)
def test_rules_are_loaded_where_they_differ(change: dict[str, Any], loads: bool) -> None:
    assert changed(AuditData(**{**vars(RIGHT), **change})) is loads


def test_a_rule_of_others_that_cannot_be_loaded_is_not_loaded_for_ever() -> None:
    mine = "-w /nowhere/x -p wa"
    state = AuditData(
        RIGHT.status, RIGHT.loaded, {**FILES, "mine.rules": (mine,)}, (*RIGHT.whole, mine)
    )
    assert not changed(state)


def test_rules_that_were_written_are_loaded() -> None:
    assert changed(RIGHT, after=Written(changed=True))
    assert not changed(AuditData(files=FILES, whole=RIGHT.whole), container=True)


def test_a_seal_of_others_is_left_alone() -> None:
    with (
        ctx_host.use(Node(Sealed=frozenset({"fss", "sealed"}))),
        pytest.raises(OperationValueError, match="somebody else sealed the journal"),
    ):
        list(operations.sealed._inner(certificate="x", interval_s=10))


def test_a_sealed_journal_stays() -> None:
    folder = FileStateData("directory", "700", "root", "root")
    node = Node(Sealed=frozenset({"fss", "kept", "sealed"}), FileState=folder)
    with ctx_host.use(node):
        assert list(operations.sealed._inner(certificate="x", interval_s=10)) == []


def test_a_fact_about_files_is_the_shared_one() -> None:
    assert operations.FileState is FileState


# Certificates


def made(folder: Path, name: str, *more: str) -> tuple[Path, Path]:
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        [*("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
         *("-keyout", key, "-out", cert), *more],
        capture_output=True, check=True,
    )  # fmt: skip
    return cert, key


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, key = made(tmp_path, "good")
    leaf, _ = made(tmp_path, "leaf", "-addext", "basicConstraints=critical,CA:FALSE")
    assert certificates.certificate(str(good), "k") == good.read_text()
    assert certificates.authority(str(good), "k") == good.read_text()
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + good.read_text())
    assert "PRIVATE" not in certificates.certificate(str(both), "k")
    for path, why in ((leaf, "may sign"), (key, "no certificate")):
        with pytest.raises(DeployError, match=why):
            certificates.authority(str(path), "remote.ca_file")
    with pytest.raises(DeployError, match="cannot be read"):
        certificates.certificate(str(tmp_path / "none"), "seal_for")
    (tmp_path / "cut.pem").write_text(good.read_text()[:200] + "\n-----END CERTIFICATE-----\n")
    with pytest.raises(DeployError, match="broken"):
        certificates.certificate(str(tmp_path / "cut.pem"), "seal_for")
    own = {"certificate_file": str(good), "key_file": str(key)}
    asked_for = {"host": "log.example", "ca_file": str(good)}
    assert certificates.pair(Remote.model_validate(asked_for)) == ("", "")
    remote = Remote.model_validate({**asked_for, "own": own})
    assert certificates.pair(remote) == (good.read_text(), key.read_text())
    other = {"certificate_file": str(leaf), "key_file": str(key)}
    with pytest.raises(DeployError, match="is not the key"):
        certificates.pair(Remote.model_validate({**asked_for, "own": other}))
    monkeypatch.setattr(certificates.time, "time", lambda: 4e9)
    with pytest.raises(DeployError, match="ended on"):
        certificates.authority(str(good), "remote.ca_file")
