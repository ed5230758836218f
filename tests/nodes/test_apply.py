"""Apply, apply again, prove, break, mend: on container nodes of every distribution."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nodeproof.lab import ContainerNode
from tests.breaks import rounds
from tests.support import Done, environment, nodeproof, write_inventory

pytestmark = pytest.mark.nodes

KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8h3i1aQ0m0m3Zl0b5W1m2Vg0cJzC7l7p1pQm3rXk2T alice@example"
)
SITE = {
    "system": {
        "timezone": "Europe/Berlin",
        "packages": ["rsync"],
        "users": {
            "alice": {"sudo": "passwordless", "keys": [KEY], "groups": ["ml"]},
            "carol": {"present": False},
        },
    },
    "ssh": {"max_sessions": 7},
}


@pytest.fixture(scope="module")
def inventory(pair: list[ContainerNode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory of the pair."""
    return write_inventory(tmp_path_factory.mktemp("site"), pair, SITE)


@pytest.fixture(scope="module")
def applied(inventory: Path) -> Path:
    """The same inventory, applied; both nodes changed."""
    done = nodeproof("apply", inventory, "--yes", "--json")
    assert done.code == 0, done.err
    assert {node["status"] for node in done.json["nodes"]} == {"changed"}
    for node in done.json["nodes"]:
        surprises = [c["name"] for c in node["changes"] if not c["foreseen"] and c["commands"]]
        assert not surprises, f"not foreseen: {surprises}"
    return inventory


def test_second_apply_changes_nothing(applied: Path, pair: list[ContainerNode]) -> None:
    done = nodeproof("apply", applied, "--yes", "--json")
    assert done.code == 0, done.err
    for node in pair:
        assert done.changed(node.name) == []
        assert done.node(node.name)["status"] == "ok"


def test_verify_passes(applied: Path, pair: list[ContainerNode]) -> None:
    done = nodeproof("verify", applied, "--json")
    assert done.code == 0, done.out
    for node in pair:
        checks = done.node(node.name)["checks"]
        assert len(checks) > 25
        assert {check["verdict"] for check in checks} == {"passed", "skipped"}
        assert all(check["controls"] for check in checks)


BREAKS = {
    "sshd setting": (
        "printf 'PermitRootLogin yes\\n' > /etc/ssh/sshd_config.d/00-mine.conf",
        {"root_login_as_asked", "server_has_taken_up_its_files"},
    ),
    "sshd setting before the include": (
        "sed -i '1i PasswordAuthentication yes' /etc/ssh/sshd_config",
        {"passwords_as_asked"},
    ),
    "sshd setting for all": (
        "printf 'Match all\\n  X11Forwarding yes\\n' >> /etc/ssh/sshd_config",
        {"forwarding_as_asked"},
    ),
    "sshd include gone": (
        # What the drop-in says holds still, as the main file repeats it.
        "sed -i '/^Include/d' /etc/ssh/sshd_config",
        {"server_has_taken_up_its_files"},
    ),
    "sshd lets one user in": (
        "echo 'AllowUsers ops' > /etc/ssh/sshd_config.d/99-mine.conf",
        {"who_may_log_in"},
    ),
    "drop-in edited": (
        "sed -i 's/^MaxSessions .*/MaxSessions 99/' /etc/ssh/sshd_config.d/10-nodeproof.conf",
        {"sessions_limited", "server_has_taken_up_its_files"},
    ),
    "sshd file removed": (
        "echo 'MaxStartups 3' > /etc/ssh/sshd_config.d/99-mine.conf; systemctl reload ssh; "
        "sleep 1; rm /etc/ssh/sshd_config.d/99-mine.conf",
        {"server_has_taken_up_its_files"},
    ),
    "drop-in readable": (
        "chmod 644 /etc/ssh/sshd_config.d/10-nodeproof.conf",
        {"files_tight"},
    ),
    "host key readable": ("install -m 644 /dev/null /etc/ssh/ssh_host_old_key", {"files_tight"}),
    "time zone": ("ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime", {"time_zone"}),
    "user in sudo": (
        "useradd -m mallory; usermod -aG sudo mallory",
        {"only_named_administrators"},
    ),
    "sudoers file": (
        "useradd -m eve; echo 'eve ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/eve",
        {"only_named_administrators"},
    ),
    "sudo rule gone": ("rm /etc/sudoers.d/nodeproof-alice", {"named_administrators_can"}),
    "key added": (
        "echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA x'"
        " >> /home/alice/.ssh/authorized_keys",
        {"ssh_keys_as_asked"},
    ),
    "account back": ("useradd -m carol", {"accounts_as_asked"}),
    "shell changed": ("usermod -s /bin/sh alice", {"accounts_as_asked"}),
    "package removed": ("dpkg --purge rsync", {"packages_installed"}),
}


ROUNDS = rounds({what: checks for what, (_, checks) in BREAKS.items()})


@pytest.mark.parametrize("together", ROUNDS, ids=lambda together: together[0])
def test_breaks_are_named_planned_and_mended(
    together: list[str], applied: Path, pair: list[ContainerNode]
) -> None:
    """Verify names the breaks, plan shows the mends, apply does it, the other node is let alone."""
    broken, other = pair
    for what in together:
        broken.ssh(f"sudo sh -c {_quoted(BREAKS[what][0])}")
    verified = nodeproof("verify", applied, "--json")
    assert verified.code == 1
    missed = {check for what in together for check in BREAKS[what][1]} - set(
        verified.failing(broken.name)
    )
    assert not missed
    assert verified.failing(other.name) == []
    planned = nodeproof("plan", applied, "--json", "--detailed-exitcode")
    assert planned.code == 5
    assert planned.changed(broken.name)
    assert planned.changed(other.name) == []
    mended = nodeproof("apply", applied, "--yes", "--json")
    assert mended.code == 0, mended.out
    assert set(planned.changed(broken.name)) == set(mended.changed(broken.name))
    again = nodeproof("verify", applied, "--json")
    assert again.code == 0, again.failing(broken.name)


def test_a_break_under_an_exception_is_excepted(
    applied: Path, pair: list[ContainerNode], tmp_path: Path
) -> None:
    """It is neither passed nor failed, until the exception ends; the other node is not excused."""
    why = {"reason": "The lab lives by its own clock", "compensation": "Logs name their zone"}
    broken, other = pair

    def verify(until: str, *options: str) -> Done:
        excepted = {broken.name: {"exceptions": {"NP-SYS-02": {**why, "until": until}}}}
        return nodeproof(
            "verify", write_inventory(tmp_path, pair, SITE, **excepted), "--json", *options
        )

    broken.ssh("sudo ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime")
    accepted, ended = verify("2999-12-31"), verify("2020-01-31")
    standard = verify("2020-01-31", "--standard", "cis_debian13", "--standard", "cis_debian12")
    broken.ssh("sudo ln -sfn /usr/share/zoneinfo/Europe/Berlin /etc/localtime")
    assert (accepted.code, ended.code, standard.code) == (0, 1, 0)
    found = {c["name"]: c["verdict"] for c in accepted.node(broken.name)["checks"]}
    assert [name for name, verdict in found.items() if verdict == "excepted"] == ["time_zone"]
    controls = [e["control"] for e in accepted.node(broken.name)["exceptions"]]
    assert controls == ["NP-SSH-04", "NP-SYS-02"]
    assert [e["control"] for e in accepted.node(other.name)["exceptions"]] == ["NP-SSH-04"]
    assert ended.failing(broken.name) == ["time_zone"]
    assert "ended on 2020-01-31" in ended.node(broken.name)["notes"][0]
    (score,) = standard.json["scores"]
    assert score["excepted"] == ["5.1.4"]
    assert len(score["passed"]) > 15
    assert score["failed"] == score["unseen"] == []
    layers = {check["layer"] for check in standard.node(broken.name)["checks"]}
    assert layers == {"system", "ssh"}


def test_plain_pyinfra_agrees(applied: Path, pair: list[ContainerNode]) -> None:
    """Plain pyinfra with the shipped deploy file finds nothing to do after nodeproof."""
    data = applied.parent / "group_data"
    data.mkdir(exist_ok=True)
    (data / "all.py").write_text("_sudo = True\nssh_strict_host_key_checking = 'yes'\n")
    deploy = Path(__file__).parents[2] / "deploys" / "site.py"
    pyinfra = shutil.which("pyinfra", path=str(Path(sys.executable).parent))
    assert pyinfra is not None
    done = subprocess.run(
        [pyinfra, "-y", str(applied), str(deploy)],
        capture_output=True,
        text=True,
        cwd=applied.parent,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    totals = [line for line in done.stderr.splitlines() if "Grand total" in line]
    assert totals, done.stderr[-2000:]
    assert " - " in totals[0] or " 0 " in totals[0], totals
    pair[0].ssh("sudo rm /etc/sudoers.d/nodeproof-alice")
    done = subprocess.run(
        [pyinfra, "-y", str(applied), str(deploy)],
        capture_output=True,
        text=True,
        cwd=applied.parent,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert nodeproof("plan", applied, "--detailed-exitcode").code == 0


def test_plain_pytest_agrees(applied: Path, pair: list[ContainerNode]) -> None:
    """Plain pytest with the plugin runs the same checks."""
    arguments = [
        *(sys.executable, "-m", "pytest", "-p", "nodeproof.checks.plugin", "-q"),
        *("--pyargs", "nodeproof.layers", f"--inventory={applied}"),
        *("-p", "no:cacheprovider", "--rootdir", str(applied.parent), "-c", "/dev/null"),
    ]
    done = subprocess.run(
        arguments, capture_output=True, text=True, cwd=applied.parent, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    pair[0].ssh("sudo install -m 644 /dev/null /etc/ssh/ssh_host_old_key")
    done = subprocess.run(
        arguments, capture_output=True, text=True, cwd=applied.parent, check=False
    )
    pair[0].ssh("sudo rm /etc/ssh/ssh_host_old_key")
    assert done.returncode == 1
    assert "test_files_tight" in done.stdout


def test_saved_plan_is_applied_or_refused(
    applied: Path, pair: list[ContainerNode], tmp_path: Path
) -> None:
    """A plan is applied as it was read; after the node moved it is refused, and only there."""
    first, second = pair
    for node in pair:
        node.ssh("sudo chmod 640 /etc/ssh/sshd_config.d/10-nodeproof.conf")
    saved = tmp_path / "plan.json"
    assert nodeproof("plan", applied, "--out", saved).code == 0
    assert saved.stat().st_mode & 0o077 == 0
    first.ssh("sudo rm /etc/sudoers.d/nodeproof-alice")
    done = nodeproof("apply", saved, "--json")
    assert done.code == 4
    assert done.node(first.name)["status"] == "refused"
    assert "ssh | Write the sshd drop-in" in done.changed(second.name)
    assert nodeproof("apply", applied, "--yes").code == 0


def _quoted(command: str) -> str:
    import shlex

    return shlex.quote(command)
