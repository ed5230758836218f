"""The update guard's program on what real apt said, its files' grammar, and its proof."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.recorded import edited, recorded

from nodeproof.errors import UsageError
from nodeproof.updates.guard import (
    PROGRAM,
    SETS,
    Guard,
    built,
    hook_text,
    parse,
    program,
    unit_text,
)
from nodeproof.updates.proof import problems

KERNEL = "6.12.117+deb13-amd64"
COMES = "apt/kernel-with-headers.txt"
REMOVAL = "apt/removal.txt"
GSP = Guard("gpu", packages={"firmware-nvidia-gsp": "550.163.01-2"})
DRIVER = Guard("gpu", modules={"nvidia-current-open": "550.163.01"})


@dataclass
class Machine:
    """A folder in which the program runs, with tools that say what they are told to."""

    folder: Path
    installed: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    """Paths, to the packages that brought them."""

    def tool(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, word: str, said: str = "", *guards: Guard) -> subprocess.CompletedProcess[str]:
        return self.call([word], said, *guards)

    def call(
        self, words: Sequence[str], said: str = "", *guards: Guard
    ) -> subprocess.CompletedProcess[str]:
        sets = self.folder / "sets"
        sets.mkdir(exist_ok=True)
        for guard in guards:
            (sets / f"{guard.stack}.conf").write_text(guard.text())
        known = "".join(f"{n}) echo 'installed {v}';;\n" for n, v in self.installed.items())
        known += "".join(f"{path}) echo '{n}: {path}';;\n" for path, n in self.owners.items())
        self.tool(
            "dpkg-query", f"for name in $*; do :; done\ncase $name in\n{known}*) exit 1;;\nesac"
        )
        self.tool("logger", f'echo "$*" >>{self.folder}/log')
        text = (
            program().replace(SETS, str(sets)).replace("/var/lib/dkms", str(self.folder / "dkms"))
        )
        text = text.replace("/run/motd.d", str(self.folder / "motd.d"))
        for place in ("/var/lib/nodeproof/open-updates", "/run/reboot-required"):
            text = text.replace(place, str(self.folder / Path(place).name))
        text = text.replace("processes=/proc kernels_at=/boot", "processes=proc kernels_at=boot")
        path = self.folder / "update-guard"
        path.write_text(text.replace("PATH=", f"PATH={self.folder}/bin:", 1))
        path.chmod(0o755)
        return subprocess.run(
            ["sh", path, *words],
            input=said,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path, {"firmware-nvidia-gsp": "550.163.01-2"})
    made.tool("dkms", "exit 0")
    return made


def headers(version: str = "6.12.117-1") -> str:
    return f"linux-headers-{KERNEL} - - none < {version} amd64 none /var/cache/apt/archives/"


REFUSED = {
    "a removal": (
        REMOVAL,
        GSP,
        "firmware-nvidia-gsp would be removed; 550.163.01-2 is guarded (gpu)",
    ),
    "another version": (
        COMES,
        Guard("gpu", packages={"linux-headers-amd64": "6.12.116-1"}),
        "linux-headers-amd64 would become 6.12.117-1; 6.12.116-1 is guarded (gpu)",
    ),
    "a kernel without what is its own": (
        COMES,
        Guard("gpu", beside=("linux-modules-nvidia-580-{kernel}",)),
        f"kernel {KERNEL} would come without linux-modules-nvidia-580-{KERNEL} (gpu)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(machine: Machine, what: str) -> None:
    said, guard, sentence = REFUSED[what]
    done = machine.run("transaction", recorded(said), guard)
    assert done.returncode == 1
    assert f"  {sentence}\n" in done.stderr
    assert "To go on, " in done.stderr
    assert sentence in (machine.folder / "log").read_text()


def test_a_kernel_without_headers(machine: Machine) -> None:
    text = recorded(COMES)
    lines = [
        line
        for line in text.splitlines(keepends=True)
        if not line.startswith(f"linux-headers-{KERNEL}")
    ]
    assert len(lines) == len(text.splitlines()) - 2
    done = machine.run("transaction", "".join(lines), DRIVER)
    assert f"kernel {KERNEL} would come without linux-headers-{KERNEL} (gpu)" in done.stderr
    machine.installed[f"linux-headers-{KERNEL}"] = "6.12.117-1"
    machine.tool("dkms", f"echo nvidia-current-open/550.163.01, {KERNEL}, x86_64: installed")
    assert machine.run("transaction", "".join(lines), DRIVER).returncode == 0


ALLOWED = {
    "nothing is guarded": (COMES, ()),
    "others": (COMES, (GSP,)),
    "the version that is guarded": (
        COMES,
        (Guard("gpu", packages={"linux-headers-amd64": "6.12.117-1"}),),
    ),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_allowed(machine: Machine, what: str) -> None:
    said, guards = ALLOWED[what]
    done = machine.run("transaction", recorded(said), *guards)
    assert (done.returncode, done.stderr) == (0, "")


def test_configuration_of_what_is_gone_may_go(machine: Machine) -> None:
    machine.installed.clear()
    assert machine.run("transaction", recorded(REMOVAL), GSP).returncode == 0


def test_switched_off_once(machine: Machine) -> None:
    said = edited(REMOVAL, "VERSION 3\n", "VERSION 3\nNodeproof::UpdateGuard=off\n")
    done = machine.run("transaction", said, GSP)
    assert done.returncode == 0
    assert "switched off" in done.stderr


@pytest.mark.parametrize(
    ("was", "becomes", "sentence"),
    [("VERSION 3", "VERSION 2", "apt does not say what it is about to do")],
)
def test_could_not_look_is_a_refusal(
    machine: Machine, was: str, becomes: str, sentence: str
) -> None:
    done = machine.run("transaction", edited(COMES, was, becomes), GSP)
    assert done.returncode == 1
    assert sentence in done.stderr


def test_a_line_that_is_not_understood_is_a_refusal(machine: Machine) -> None:
    machine.run("status", "", GSP)
    (machine.folder / "sets" / "other.conf").write_text("# theirs\npackage sed\n")
    done = machine.run("transaction", recorded(COMES))
    assert done.returncode == 1
    assert "other.conf: line 2 is not understood" in done.stderr


def test_after_a_boot(machine: Machine) -> None:
    kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout
    motd = machine.folder / "motd.d" / "nodeproof-update-guard"
    assert machine.run("boot", "", GSP).returncode == 0
    assert not motd.exists()
    guard = Guard(
        "gpu",
        packages={"firmware-nvidia-gsp": "570.1-1", "libcuda1": "570.1-1"},
        modules={"nvidia": "570.1"},
        loaded={"no_such_module": "570.1"},
    )
    done = machine.run("boot", "", guard)
    assert done.returncode == 1
    said = motd.read_text()
    for sentence in (
        "firmware-nvidia-gsp is 550.163.01-2, 570.1-1 is guarded (gpu): run nodeproof apply",
        "libcuda1 is not installed, 570.1-1 is guarded (gpu)",
        f"linux-headers-{kernel.strip()} is not installed, this kernel's own (gpu)",
        f"nvidia 570.1 is not built for the running kernel {kernel.strip()} (gpu): ",
        "the kernel module no_such_module is not loaded (gpu)",
    ):
        assert sentence in said
        assert sentence in done.stdout
    machine.installed.update({"firmware-nvidia-gsp": "570.1-1"})
    assert machine.run("boot", "", Guard("gpu", packages=machine.installed)).returncode == 0
    assert not motd.exists()


def test_after_a_boot_into_a_kernel_that_it_does_not_build_for(machine: Machine) -> None:
    kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout
    log = machine.folder / "dkms" / "nvidia-current-open" / "550.163.01" / "build" / "make.log"
    log.parent.mkdir(parents=True)
    was = "for kernel 6.12.117+deb13-cloud-amd64"
    text = edited("dkms/nvidia-550-on-6.12.117.log", was, f"for kernel {kernel.strip()}")
    log.write_text(text)
    machine.tool("dkms", "echo nvidia-current-open/550.163.01: added")
    machine.installed[f"linux-headers-{kernel.strip()}"] = "1"
    done = machine.run("boot", "", DRIVER)
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert "its build failed: nv-pci.c:237:9: error: too few arguments to function" in line
    assert line.endswith("boot the kernel before, and remove this one")


def test_the_program_is_plain_shell() -> None:
    done = subprocess.run(
        ["sh", "-n"], input=program(), text=True, check=False, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "bad",
    [
        {"stack": "../x", "packages": {"a": "1"}},
        {"stack": "GPU", "packages": {"a": "1"}},
        {"stack": "gpu"},
        {"stack": "gpu", "packages": {'a";': "1"}},
        {"stack": "gpu", "packages": {"a b": "1"}},
        {"stack": "gpu", "packages": {"a": "1 2"}},
        {"stack": "gpu", "packages": {"a": "$(id)"}},
        {"stack": "gpu", "modules": {"../m": "1"}},
        {"stack": "gpu", "modules": {"m": "../1"}},
        {"stack": "gpu", "loaded": {"a/b": "1"}},
        {"stack": "gpu", "beside": ("linux-headers",)},
        {"stack": "gpu", "beside": ("x{kernel}\n",)},
    ],
)
def test_values_keep_to_their_grammar(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Guard(**bad)  # type: ignore[arg-type]


def test_names_are_no_patterns_to_unattended_upgrades() -> None:
    guard = Guard("gpu", packages={"libstdc++6": "14-1", "cuda-12.9": "1"}, modules={"nvidia": "1"})
    kernels = ("linux-image-", "linux-headers-", "linux-modules-")
    assert guard.patterns() == ("cuda-12[.]9$", "libstdc[+][+]6$", *kernels)
    attended = Guard("gpu", modules={"nvidia": "1"}, unattended_kernels=True)
    assert attended.patterns() == ()


SAID = f"""== set
{DRIVER.text()}== owner root 644 root 755
== apt
DPkg::Pre-Install-Pkgs:: "{PROGRAM} transaction";
DPkg::Tools::Options::{PROGRAM}::Version "3";
Unattended-Upgrade::Package-Blacklist:: "linux-image-";
Unattended-Upgrade::Package-Blacklist:: "linux-headers-";
Unattended-Upgrade::Package-Blacklist:: "linux-modules-";
== unit enabled
== status
== code 0
"""


@pytest.mark.parametrize(
    ("was", "becomes", "sentence"),
    [
        ("== unit enabled", "== unit disabled", "does not look after a boot: it is disabled"),
        ("root 755", "root 775", "somebody but root may write"),
        ("root 644", "ubuntu 644", "somebody but root may write"),
        ("module nvidia-current-open 550.163.01", "", "does not name what is asked for"),
        (":Version \"3\"", ":Version \"2\"", "apt does not ask the update guard"),
        ("linux-image-", "linux-imagine-", "unattended upgrades may change \"linux-image-\""),
        ("== unit", "Nodeproof::UpdateGuard \"off\";\n== unit", "apt's configuration"),
        ("== status\n== code 0", "== status\nlibcuda1 is gone\n== code 1", "libcuda1 is gone"),
        ("== status\n== code 0", "== status\n== code 127", f"{PROGRAM} fails"),
        ("== code 0", "", "could not look"),
    ],
)  # fmt: skip
def test_proof(was: str, becomes: str, sentence: str) -> None:
    assert problems(DRIVER, SAID) == []
    assert SAID.count(was) == 1
    found = problems(DRIVER, SAID.replace(was, becomes))
    assert any(sentence in one for one in found), found


def test_nothing_is_said() -> None:
    assert "could not look" in problems(DRIVER, "")[0]


def test_what_is_written_is_read_back() -> None:
    assert parse(DRIVER.text().splitlines()) == {
        "module": {"nvidia-current-open": "550.163.01"},
        "beside": {"linux-headers-{kernel}": ""},
    }


def test_nothing_waits_for_the_unit() -> None:
    unit = unit_text()
    assert "After=multi-user.target" in unit
    assert "Before=" not in unit
    assert "TimeoutStartSec=" in unit
    assert f'"{PROGRAM} transaction"' in hook_text()


def test_of_several_versions_the_installed_one_counts() -> None:
    told = [
        ("amdgpu", "6.16", "installed"),
        ("amdgpu", "6.12", "added"),
        ("nvidia", "580", "installed"),
    ]
    assert built(told, ["amdgpu"]) == {"amdgpu": "6.16"}
    assert built(told[1:], ["amdgpu"]) == {"amdgpu": "6.12"}
    assert built(told, []) == {}


def test_an_image_is_not_asked_what_it_runs() -> None:
    said = f"== set \n{GSP.text()}== owner root 644 root 755\n== unit enabled\n== status \n"
    said += "nvidia is not built for the running kernel\n== code 1\n"
    assert problems(GSP, said, runs=False) == []
    assert problems(GSP, said) == ["nvidia is not built for the running kernel"]
