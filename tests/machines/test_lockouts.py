"""Attempts to lock ourselves out that need a kernel of their own, or its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from nodeproof.lab import Lab
from tests.held import Held
from tests.lockouts.attempts import CONFINES
from tests.lockouts.proof import Prepared, prepared

pytestmark = pytest.mark.machines


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A machine with a firewall."""
    lab = Lab("lockouts")
    if lab.machines():
        lab.down(purge=True)
    (machine,) = lab.up(["locked"], cpus=1, memory_mb=1024, preinstall=("nftables",))
    yield prepared(machine, tmp_path_factory.mktemp("lockouts"))
    lab.down(purge=True)


@pytest.mark.parametrize(
    ("way", "attempt"), [*(("cli", attempt) for attempt in CONFINES), ("plain", min(CONFINES))]
)
def test_profile_that_denies_sshd_is_taken_back(node: Prepared, attempt: str, way: str) -> None:
    """The kernel itself turns new connections away, until the node unloads the profile."""
    before = node.picture()
    with Held(node.node.access) as held:
        done = node.attempt(way, attempt)
        node.logs_in(240)
        assert held.run("echo here") == "here\n"
    assert done.code == 1, done.out + done.err
    assert node.result() == "taken-back\n", node.log()
    assert node.picture() == before


def test_power_cut_while_armed(node: Prepared) -> None:
    """The boot takes the change back before sshd starts: there is no moment without access."""
    before = node.picture()
    with Held(node.node.access) as held:
        process = node.start("plain", "allow_groups_without_us", guard_s=600)
        held.run("until [ -e /var/lib/nodeproof/armed ]; do sleep 0.2; done", 120)
        node.wait_locked(process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        node.node.power_cut()
    node.node.wait()
    assert node.refused() == ""
    assert node.result() == "taken-back\n", node.log()
    assert "the-machine-was-restarted" in node.log()
    assert node.picture() == before
