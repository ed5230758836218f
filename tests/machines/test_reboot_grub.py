"""A new kernel is tried once: it comes up and stays, or the old one comes back by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeproof.facts.boot import BEFORE, TRYING
from nodeproof.lab import Lab, Machine, qemu
from tests.machines import grub
from tests.support import nodeproof, write_inventory

pytestmark = pytest.mark.grub
MENU = "/boot/grub/grub.cfg"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    lab = Lab("grub")
    if lab.machines():
        lab.down(purge=True)
    (machine,) = lab.up(["node1"], preinstall=grub.PACKAGES)
    grub.install(machine)
    grub.start(machine, tmp_path_factory.mktemp("grub"))
    yield machine
    lab.down(purge=True)


@pytest.fixture(scope="module")
def inventory(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inventory(tmp_path_factory.mktemp("inventory"), [machine], {"ssh": {}})


def running(machine: Machine) -> str:
    return machine.ssh("uname -r").stdout.strip()


def other(machine: Machine) -> str:
    """Return the installed kernel that does not run."""
    installed = machine.ssh("cd /boot && ls vmlinuz-*").stdout.split()
    (found,) = {name.removeprefix("vmlinuz-") for name in installed} - {running(machine)}
    return found


def environment(machine: Machine) -> dict[str, str]:
    lines = machine.ssh("sudo grub-editenv - list").stdout.splitlines()
    return {key: value for key, _, value in (line.partition("=") for line in lines) if value}


def choose(machine: Machine, kernel: str) -> dict[str, str]:
    """Make a kernel the default; return GRUB's environment."""
    title = f"Advanced options for GNU/Linux>GNU/Linux, with Linux {kernel}"
    machine.ssh(["sudo", "grub-set-default", title])
    return environment(machine)


def test_a_good_kernel_stays(machine: Machine, inventory: Path) -> None:
    old, new = running(machine), other(machine)
    before = choose(machine, new)
    started = time.monotonic()
    done = nodeproof("apply", inventory, "--yes", "--json", "--reboot", "if-needed")
    print(f"\nto the new kernel: {time.monotonic() - started:.0f} s")  # noqa: T201
    assert done.code == 0, done.out + done.err
    reboot = done.node("node1")["reboot"]
    assert (reboot["kernel_before"], reboot["kernel_after"]) == (old, new)
    assert running(machine) == new
    assert environment(machine) == before


def test_a_kernel_that_panics_gives_way_to_the_old_one(machine: Machine, inventory: Path) -> None:
    old, bad = running(machine), other(machine)
    choose(machine, bad)
    machine.ssh(f"sudo sed -i '/vmlinuz-{bad} /s|$| rdinit=/bin/false|' {MENU} && sync")
    started = time.monotonic()
    done = nodeproof("apply", inventory, "--yes", "--json", "--reboot", "if-needed")
    print(f"\nto the bad kernel and back: {time.monotonic() - started:.0f} s")  # noqa: T201
    assert done.code == 1, done.out + done.err
    node = done.node("node1")
    assert f"kernel {bad} was to boot, but {old} runs" in node["reason"]
    assert "went back to it by itself" in node["hint"]
    console = (machine.folder / qemu.CONSOLE).read_text(errors="replace")
    assert "Kernel panic - not syncing" in console
    assert environment(machine)[TRYING] == bad


def test_it_is_not_tried_again_until_somebody_says_so(machine: Machine, inventory: Path) -> None:
    old = running(machine)
    again = nodeproof("apply", inventory, "--yes", "--json", "--reboot", "if-needed")
    assert again.code == 4, again.out
    assert "did not come up when it was tried" in again.node("node1")["reason"]
    assert running(machine) == old
    machine.ssh(f"sudo grub-editenv - unset {TRYING}; sudo sed -i 's| rdinit=/bin/false||' {MENU}")
    done = nodeproof("apply", inventory, "--yes", "--json", "--reboot", "if-needed")
    assert done.code == 0, done.out + done.err
    assert running(machine) != old
    assert not environment(machine).keys() & {TRYING, BEFORE}
