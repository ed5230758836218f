"""What the update guard's program does around unattended upgrades, with tools told what to say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.recorded import recorded
from tests.repositories.deb import Package
from tests.unit.test_update_guard import COMES, KERNEL, Machine, headers

from nodeproof.updates.guard import Guard

BUILT = Guard("updates", built=True)
HAS = "npgpu/1.0, 6.1.0-1-amd64, x86_64: installed"
OLDER = "npgpu, 0.9, 6.1.0-1-amd64, x86_64: installed"
"""As dkms wrote it before 3.0."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    knows(made, HAS, OLDER)
    made.tool("shutdown", f'echo "$@" >{tmp_path}/shutdown')
    (tmp_path / "boot").mkdir()
    (tmp_path / "proc").mkdir()
    return made


def knows(machine: Machine, *lines: str, also: str = "") -> None:
    """Have dkms list these; of one kernel it says `also`."""
    said = "\n".join(f"echo '{line}'" for line in lines)
    machine.tool("dkms", f"case \"$*\" in *' -k '*) {also or ':'}; exit 0;; esac\n{said}")


def transaction(*acts: str) -> str:
    return "VERSION 3\n\n" + "".join(f"{act}\n" for act in acts)


# Whatever DKMS has built


def test_the_newest_version_of_each_must_build(machine: Machine) -> None:
    done = machine.run("transaction", recorded(COMES), BUILT)
    assert done.returncode == 1
    assert f"kernel {KERNEL}: npgpu 1.0 does not build for it (updates)" in done.stderr
    assert "npgpu 0.9" not in done.stderr


def test_without_headers_nothing_builds(machine: Machine) -> None:
    image = f"linux-image-{KERNEL} - - none < 6.12.117-1 amd64 none /x.deb"
    done = machine.run("transaction", transaction(image), BUILT)
    assert f"kernel {KERNEL} would come without linux-headers-{KERNEL} (updates)" in done.stderr
    knows(machine)
    assert machine.run("transaction", transaction(image), BUILT).returncode == 0


def test_headers_alone_are_tried_too(machine: Machine) -> None:
    done = machine.run("transaction", transaction(headers()), BUILT)
    assert f"kernel {KERNEL}: npgpu 1.0 does not build for it" in done.stderr
    common = "linux-headers-6.12.117+deb13-common - - none < 1 all none /x.deb"
    assert machine.run("transaction", transaction(common), BUILT).returncode == 0
    knows(machine, HAS, also=f"echo 'npgpu/1.0, {KERNEL}, x86_64: installed'")
    assert machine.run("transaction", transaction(headers()), BUILT).returncode == 0


def test_a_module_that_comes_in_another_version_is_tried_in_that_one(machine: Machine) -> None:
    """Else the driver that mends it could not come together with the kernel."""
    source = {"/usr/src/npgpu-2.0/dkms.conf": "PACKAGE_NAME=npgpu\n"}
    path = machine.folder / "npgpu-dkms.deb"
    path.write_bytes(Package("npgpu-dkms", "2.0-1", files=source).built())
    machine.owners["/usr/src/npgpu-1.0/dkms.conf"] = "npgpu-dkms"
    comes = f"npgpu-dkms 1.0-1 amd64 none < 2.0-1 amd64 none {path}"
    kernel = machine.folder / "headers.deb"
    kernel.write_bytes(Package(f"linux-headers-{KERNEL}", "1").built())
    new = f"linux-headers-{KERNEL} - - none < 1 amd64 none {kernel}"
    done = machine.run("transaction", transaction(comes, new), BUILT)
    assert f"trying whether npgpu 2.0 builds for the kernel {KERNEL}" in done.stderr
    assert "npgpu 1.0" not in done.stderr
    goes = "npgpu-dkms 1.0-1 amd64 none > - - none **REMOVE**"
    assert machine.run("transaction", transaction(goes, new), BUILT).returncode == 0


# Open updates

LISTED = """echo 'Listing...
openssl/stable-security 3.5.4-1 amd64 [upgradable from: 3.5.1-1]
vim/stable 9.1 amd64 [upgradable from: 9.0]'"""


def test_since_when_updates_are_open(machine: Machine) -> None:
    machine.tool("apt", LISTED)
    noted = machine.folder / "open-updates"
    before = int(time.time())
    assert machine.run("pending").returncode == 0
    name, version, since, suite = noted.read_text().split()
    assert (name, version, suite) == ("openssl", "3.5.4-1", "stable-security")
    assert before <= int(since) <= time.time()
    noted.write_text("openssl 3.5.2-1 1000 stable-security\ngone 1 900 stable-security\n")
    assert machine.run("pending").returncode == 0
    assert noted.read_text() == "openssl 3.5.4-1 1000 stable-security\n"
    noted.write_text(f"openssl 3.5.4-1 {before + 10**6} stable-security\n")
    machine.run("pending")
    assert int(noted.read_text().split()[2]) <= time.time(), "a clock that went back"


# Reboots


def wants(machine: Machine) -> None:
    (machine.folder / "reboot-required").touch()


def rebooted(machine: Machine) -> bool:
    return (machine.folder / "shutdown").exists()


def test_nothing_asks_for_a_reboot(machine: Machine) -> None:
    assert machine.call(["reboot", "-"]).returncode == 0
    assert not rebooted(machine)


def test_a_reboot(machine: Machine) -> None:
    wants(machine)
    assert machine.call(["reboot", "-"]).returncode == 0
    assert (machine.folder / "shutdown").read_text().startswith("-r +1 ")


def running(machine: Machine, name: str, command: str) -> None:
    (machine.folder / "proc" / "77").mkdir(exist_ok=True)
    (machine.folder / "proc" / "77" / "comm").write_text(f"{name}\n")
    (machine.folder / "proc" / "77" / "cmdline").write_bytes(command.replace(" ", "\0").encode())


@pytest.mark.parametrize(
    ("name", "command", "why"),
    [
        ("slurmstepd", "slurmstepd: [4711.0]", "a Slurm job runs"),
        ("containerd-shim", "containerd-shim-runc-v2 -id 1", "a container runs"),
        ("conmon", "conmon -c 1", "a container runs"),
        ("slurmstepd", "slurmstepd infinity", ""),
        ("sleep", "sleep 1", ""),
    ],
)
def test_work_is_not_killed(machine: Machine, name: str, command: str, why: str) -> None:
    wants(machine)
    running(machine, name, command)
    done = machine.call(["reboot", "-"])
    assert (done.returncode, rebooted(machine)) == ((1, False) if why else (0, True))
    assert why in done.stderr


def test_a_hook_moves_work_away_or_fails(machine: Machine) -> None:
    wants(machine)
    running(machine, "conmon", "conmon -c 1")
    hook = machine.folder / "hook"
    hook.write_text("#!/bin/sh\nexit 3\n")
    hook.chmod(0o755)
    done = machine.call(["reboot", str(hook)])
    assert (done.returncode, rebooted(machine)) == (1, False)
    assert f"not done: {hook} failed" in done.stderr
    hook.write_text("#!/bin/sh\ntouch drained\n")
    assert machine.call(["reboot", str(hook)]).returncode == 0
    assert rebooted(machine)
    assert (machine.folder / "drained").exists()


def test_not_into_a_kernel_without_its_modules(machine: Machine) -> None:
    wants(machine)
    for kernel in ("6.1.0-9-amd64", "6.1.0-10-amd64"):
        (machine.folder / "boot" / f"vmlinuz-{kernel}").touch()
    done = machine.call(["reboot", "-"])
    assert (done.returncode, rebooted(machine)) == (1, False)
    assert "npgpu 1.0 is not built for the kernel 6.1.0-10-amd64" in done.stderr
    knows(machine, HAS, also="echo 'npgpu/1.0, x, x86_64: installed'")
    assert machine.call(["reboot", "-"]).returncode == 0


@pytest.mark.parametrize(("begun", "inside"), [(-3600, True), (3600, False), (-7300, False)])
def test_only_in_the_window(machine: Machine, begun: int, inside: bool) -> None:
    """systemd-analyze itself is asked on nodes; here it says when a window would have begun."""
    wants(machine)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + begun))
    said = f"    Next elapse: Mon {at}" if begun > -7200 else "    Next elapse: Mon 2100-01-01 0:00"
    machine.tool("systemd-analyze", f"echo '{said}'")
    done = machine.call(["reboot", "-", "Mon *-*-* 02:00:00", "120"])
    assert done.returncode == 0
    assert rebooted(machine) is inside
    assert ("the window is over" in done.stderr) is not inside
