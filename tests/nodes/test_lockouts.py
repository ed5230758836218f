"""Attempts to lock ourselves out end with access kept and a clear report."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from nodeproof.lab import containers
from tests.held import Held
from tests.lockouts.attempts import CUTS_CONNECTIONS, GUARD_S, REFUSED, TAKEN_BACK
from tests.lockouts.proof import PROGRAM, Prepared, prepared
from tests.nodes.conftest import PREINSTALL

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("lockouts")]
NEXT = "20991231T000000Z-000000"
"""The id of a run that comes after all others."""


WHY = {
    "sudoers_syntax_error": "syntax error",
    "pam_module_missing": "there is no module pam_nowhere.so",
    "sshd_syntax_error": "unsupported option",
    "nftables_syntax_error": "/etc/nftables.conf",
}
"""What the report must hold of the checker's own words."""


RUNS = (("debian-12", "cli"), ("debian-13", "cli"), ("debian-13", "plain"))
"""The plain way differs in the controller only, which is the same for both distributions."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make attempts on both distributions, in both ways on one of them."""
    if "way" in metafunc.fixturenames:
        metafunc.parametrize(("node", "way"), RUNS, indirect=["node"], scope="module")
    elif "node" in metafunc.fixturenames:
        metafunc.parametrize("node", ["debian-12", "debian-13"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prepared]:
    """A node with a firewall."""
    with containers(["locked"], request.param, preinstall=PREINSTALL) as (one,):
        yield prepared(one, tmp_path_factory.mktemp("lockouts"))


@pytest.mark.parametrize("attempt", REFUSED)
def test_refused_by_the_daemons_own_checker(node: Prepared, attempt: str, way: str) -> None:
    """Taken back within the step, before any daemon took it up."""
    before = node.picture()
    with Held(node.node.access) as held:
        done = node.attempt(way, attempt)
        assert node.refused() == ""
        assert held.run("echo here") == "here\n"
    said = done.out + done.err
    assert done.code == 1, said
    assert "the change was taken back" in said
    assert WHY[attempt] in said, said
    # Plain pyinfra ends with the change that was refused, and says nothing more.
    assert node.result() == ("failed\n" if way == "cli" else "interrupted\n"), node.log()
    assert node.picture() == before


@pytest.mark.parametrize("attempt", TAKEN_BACK)
def test_taken_back_when_no_new_connection_can_be_made(
    node: Prepared, attempt: str, way: str
) -> None:
    """Every checker says yes; the guard finds out. Who is connected stays connected."""
    before = node.picture()
    with Held(node.node.access) as held:
        done = node.attempt(way, attempt)
        took = node.logs_in()
        assert held.run("echo here") == "here\n"
    assert done.code == 1, done.out + done.err
    assert took < BACK[way], took
    if way == "cli":
        reason = done.node("locked")["reason"]
        assert "taken back, because a new connection was not possible" in reason
        assert reason.endswith("it works again")
    assert node.result() == "taken-back\n", node.log()
    assert node.picture() == before
    assert "expired" in node.log()


BACK = {"cli": 30, "plain": GUARD_S + 40}
"""Seconds: nodeproof has it taken back at once, plain pyinfra leaves it to the timer."""


@pytest.mark.parametrize("attempt", CUTS_CONNECTIONS)
def test_taken_back_by_the_node_alone(node: Prepared, attempt: str, way: str) -> None:
    """Not even the connection in use works any more."""
    before = node.picture()
    process = node.start(way, attempt)
    node.wait_locked(process)
    node.logs_in()
    assert node.result() == "taken-back\n", node.log()
    assert node.picture() == before
    out, err = process.communicate(timeout=300)
    assert process.returncode in (1, 3), out + err


@pytest.mark.parametrize(
    "meanwhile",
    ["true", "systemctl daemon-reexec", "systemctl restart ssh", "systemctl daemon-reload"],
)
def test_guard_outlives_the_controller(node: Prepared, meanwhile: str) -> None:
    """SIGKILL between change and confirmation, and what administrators do in between."""
    before = node.picture()
    with Held(node.node.access) as held:
        process = node.start("plain", "allow_groups_without_us", guard_s=15)
        held.run("until [ -e /var/lib/nodeproof/armed ]; do sleep 0.1; done")
        node.wait_locked(process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        armed = time.monotonic()
        held.run(meanwhile)
        node.logs_in()
        assert time.monotonic() - armed < 15 + 40
        assert held.run("echo here") == "here\n"
    assert node.result() == "taken-back\n", node.log()
    assert node.picture() == before


def test_next_run_takes_back_what_nobody_confirmed(node: Prepared) -> None:
    """A controller that died leaves its timer; who comes first takes the change back."""
    before = node.picture()
    with Held(node.node.access) as held:
        process = node.start("plain", "sudo_rule_against_us", guard_s=600)
        held.run("until [ -e /var/lib/nodeproof/armed ]; do sleep 0.1; done; sleep 1")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        settled = held.run(f"{PROGRAM} begin {NEXT} </dev/null && {PROGRAM} end {NEXT} ok")
        assert "reverted\t" in settled
        assert node.refused() == ""
        held.run(f"rm -r /var/lib/nodeproof/runs/{NEXT}")
    assert node.result() == "taken-back\n", node.log()
    assert node.picture() == before


@pytest.mark.parametrize("attempt", ["sshd_enabled", "allow_groups_without_us"])
def test_restart_while_armed(node: Prepared, attempt: str) -> None:
    """The boot takes the change back, and waits for nothing that waits for the boot."""
    if attempt == "sshd_enabled":
        node.node.ssh("sudo systemctl --quiet disable ssh.service")  # it runs on
    before = node.picture()
    with Held(node.node.access) as held:
        process = node.start("plain", attempt, guard_s=600)
        held.run("until [ -e /var/lib/nodeproof/armed ]; do sleep 0.05; done")
        process.kill()
        process.communicate()
    node.node.stop()
    node.node.start()
    node.node.wait()
    assert node.result() == "taken-back\n", node.log()
    assert "the-machine-was-restarted" in node.log()
    assert node.picture() == before
    node.node.ssh("sudo systemctl --quiet enable ssh.service")
