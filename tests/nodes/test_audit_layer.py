"""The audit layer on a node: files, the journal and its seal, a copy that is sent, and all back.

A container has no audit of its own; what the kernel records is seen in tests/machines.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from tests.support import Done, nodeproof, write_inventory

pytestmark = [pytest.mark.nodes]

STATE = r"""
find /etc ! -name '*.cache' ! -name 'ld.so*' -type f -exec sha256sum {} +
find /etc /usr/sbin /var/log/audit /var/spool/rsyslog -printf '%p %y %m %U %G %l\n' 2>/dev/null
dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n'
apt-mark showmanual | sed 's/^/manual /'; getent passwd; getent group
systemctl list-unit-files --no-legend | grep -v transient
systemctl show -p ActiveState systemd-journald.service
"""
SEAL = "/var/lib/nodeproof/journal-seal"
RULES = "/etc/audit/rules.d/30-nodeproof-system.rules"
BREAKS = {
    "rules_written": f"sed -i /shadow/d {RULES}",
    "events_kept_as_asked": "sed -i 's/^num_logs.*/num_logs = 2/' /etc/audit/auditd.conf",
    "log_and_tools_only_for_root": f"chmod 644 {RULES}",
    "journal_kept_as_asked": "echo '[Journal]\nStorage=volatile' "
    ">/etc/systemd/journald.conf.d/zzz.conf",
}
"""Check that must name it, and how it is broken by hand."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = ["debian-13"] if "whole" in metafunc.function.__name__ else ["debian-12", "debian-13"]
    params = [pytest.param(one, marks=pytest.mark.xdist_group(f"audit-{one}")) for one in names]
    if "node" in metafunc.fixturenames:
        metafunc.parametrize("node", params, indirect=True, scope="module")


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[ContainerNode]:
    """A node of the module's own."""
    with containers([f"aud-{request.param[-2:]}"], request.param) as (one,):
        yield one


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate and the key of who proves the seal."""
    folder = tmp_path_factory.mktemp("auditor")
    subprocess.run(
        [*("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=auditor"),
         *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem")],
        capture_output=True, check=True,
    )  # fmt: skip
    return folder


def sh(node: ContainerNode, script: str) -> str:
    done = node.ssh("sudo sh", stdin=script, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(command: str, folder: Path, node: ContainerNode, **asked: Any) -> Done:
    inventory = write_inventory(folder, [node], {"audit": asked})
    return nodeproof(command, inventory, *(["--yes"] if command == "apply" else []), "--json")


def verified(node: ContainerNode, auditor: Path) -> str:
    """Return what journalctl says of the journal with the key that only the auditor can read."""
    key = auditor / "sealed.pem"
    key.write_text(sh(node, f"cat {SEAL}/verification-key.pem"))
    opened = subprocess.run(
        [*("openssl", "cms", "-decrypt", "-inform", "PEM", "-in", key),
         *("-inkey", auditor / "key.pem")],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert opened not in sh(node, "cat /var/lib/nodeproof/runs/*/log; journalctl --no-pager")
    return sh(
        node,
        "for f in /var/log/journal/*/*@*.journal*; do "
        f"journalctl --verify --verify-key={opened} --file $f 2>&1; done; true",
    )


def test_files_journal_seal_and_back(node: ContainerNode, tmp_path: Path, auditor: Path) -> None:
    before = {*sh(node, STATE).splitlines()}
    asked = {"level": 2, "seal_for": str(auditor / "certificate.pem"), "seal_interval_s": 10}
    first = run("apply", tmp_path, node, **asked)
    assert first.code == 0, first.out + first.err
    again = run("apply", tmp_path, node, **asked)
    assert again.code == 0, again.out
    assert again.changed(node.name) == []
    proven = run("verify", tmp_path, node, **asked)
    assert proven.code == 0, proven.out
    # a restart in between, and one entry changed in what is sealed
    sh(node, "logger before; sleep 11; logger after; systemctl restart systemd-journald; sleep 2")
    sh(node, "logger later; sleep 11; logger last; journalctl --rotate; sleep 1")
    said = verified(node, auditor)
    assert "FAIL" not in said, said
    assert said.count("Validated from") >= 2, said
    sh(
        node,
        "f=$(grep -l later /var/log/journal/*/*@*.journal* | head -n 1); sed -i s/later/never/ $f",
    )
    assert "FAIL" in verified(node, auditor)
    back = nodeproof("revert", "last", tmp_path / "inventory.py", "--yes", "--json")
    assert back.code == 0, back.out
    assert {*sh(node, STATE).splitlines()} ^ before == set()


def test_every_break_is_named_and_mended_whole(node: ContainerNode, tmp_path: Path) -> None:
    assert run("apply", tmp_path, node, level=2).code == 0
    for broken in BREAKS.values():
        sh(node, broken)
    found = run("verify", tmp_path, node, level=2)
    assert set(BREAKS) <= {*found.failing(node.name)}, found.out
    sh(node, "rm /etc/systemd/journald.conf.d/zzz.conf")
    assert run("apply", tmp_path, node, level=2).code == 0
    mended = run("verify", tmp_path, node, level=2)
    assert mended.failing(node.name) == []
    lower = run("apply", tmp_path, node, level=1)
    assert lower.code == 0, lower.out
    assert "strict" not in sh(node, "ls /etc/audit/rules.d")
