"""What reads rendered templates: the daemons that they are for, or what stands for these."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest

from nodeproof.layers.gpu.settings import DIVIDER

MODULEFILE = "#%Module1.0"
"""How a modulefile begins."""


def checked(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def sshd(path: Path) -> None:
    key = path.with_name("key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    test = [found("sshd"), "-t", "-f", str(path), "-h", str(key)]
    if not Path("/run/sshd").is_dir():  # it has not run here yet; give it what its unit makes
        if os.geteuid() or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
            pytest.skip("/run/sshd is missing")
        private = 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"'
        test = ["unshare", "-m", "sh", "-c", private, "sh", *test]
    checked(test)


def visudo(path: Path) -> None:
    checked([found("visudo"), "-cf", str(path)])


def chronyd(path: Path) -> None:
    checked([found("chronyd"), "-p", "-f", str(path)])


def toml(path: Path) -> None:
    assert tomllib.loads(path.read_text())["containers"]["log_size_max"] > 0


def crio(path: Path) -> None:
    assert tomllib.loads(path.read_text()).keys() == {"crio"}


def cdi(path: Path) -> None:
    spec = json.loads(path.read_text())
    assert {"cdiVersion", "kind", "devices"} == spec.keys()


def modprobe(path: Path) -> None:
    folder = path.parent / "modprobe.d"
    folder.mkdir()
    (folder / "x.conf").write_text(path.read_text())
    told = [found("modprobe"), "--showconfig", "--config", str(folder)]
    shown = subprocess.run(told, capture_output=True, text=True, check=False)
    assert not shown.stderr, shown.stderr
    assert re.search(
        r"options (nvidia NVreg_RestrictProfilingToAdminUsers|amdgpu noretry)=", shown.stdout
    )


def modules_load(path: Path) -> None:
    lines = path.read_text().splitlines()[1:]
    assert lines
    assert all(re.fullmatch(r"[a-z0-9-]+", line) for line in lines)


def systemd_unit(path: Path) -> None:
    # It looks for the programs, too, and there is no GPU here.
    text = path.read_text()
    for program in ("/usr/bin/nvidia-smi", DIVIDER, "/sbin/modprobe", "/usr/bin/jetson_clocks"):
        text = text.replace(f"={program}", "=/bin/true")
    path.write_text(text)
    checked([found("systemd-analyze"), "verify", "--recursive-errors=no", str(path)])


def daemon(path: Path) -> None:
    """A drop-in: the first command takes the packaged one away."""
    first, second = re.findall(r"(?m)^ExecStart=(.*)$", path.read_text())
    assert first == ""
    assert second.startswith("/bin/sh -c '")
    checked(["dash", "-n", "-c", second.removeprefix("/bin/sh -c '").removesuffix("'")])


def shell(path: Path) -> None:
    checked(["sh", "-n", str(path)])
    checked([str(Path(sys.executable).with_name("shellcheck")), "--shell=dash", str(path)])


def unit(path: Path) -> None:
    """systemd itself, which looks for the programs, too, reads it on a node (tests/nodes)."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    assert parser.sections()[0] == "Unit"
    assert parser["Install"]["WantedBy"] == "multi-user.target"


def udev(path: Path) -> None:
    """udevadm verify came with systemd 254; it is asked on a node (tests/nodes)."""
    (rule,) = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert re.fullmatch(r'[A-Z]+(==|\+=)"[^"]+"(, [A-Z]+(==|\+=)"[^"]+")*', rule)


def nft(path: Path) -> None:
    """It asks the kernel, too, in a network namespace of its own."""
    checked([found("unshare"), "--net", found("nft"), "-c", "-f", str(path)])


def nftables_unit(path: Path) -> None:
    """A drop-in: nothing of what it leaves in place may flush the rules of others."""
    lines = path.read_text().splitlines()
    assert lines[3] == "[Service]"
    for key in ("ExecStart", "ExecReload", "ExecStop"):
        first, *others = [line for line in lines if line.startswith(f"{key}=")]
        assert first == f"{key}="
        assert len(others) == 1
        assert "flush" not in others[0]


def apparmor(path: Path) -> None:
    checked([found("apparmor_parser"), "-Q", "-K", str(path)])


def found(program: str) -> str:
    path = which(program)
    assert path is not None, f"{program} is not installed here"
    return path


def which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def modulefile(path: Path) -> None:
    """Environment Modules are asked on a node; here, that each line is a command of theirs."""
    first, *lines = path.read_text().splitlines()
    assert first == MODULEFILE
    path_or_value = r"(CUDA_\w+|PATH|LD_LIBRARY_PATH) /usr/local/cuda-[0-9.]+(/\w+)?"
    commands = (
        *(r"#.*", r"proc ModulesHelp \{ \} \{", r'    puts stderr "[^"]*"', r"\}"),
        *(r'module-whatis "[^"]*"', r"conflict cuda", rf"(setenv|prepend-path) {path_or_value}"),
        r'set ModulesVersion "[0-9.]+"',
    )
    assert not [one for one in lines if not any(re.fullmatch(it, one) for it in commands)]


def preferences(path: Path) -> None:
    checked([found("apt-cache"), "-o", f"Dir::Etc::Preferences={path}", "policy"])


def login_shell(path: Path) -> None:
    """It is read once more by each login shell below another one."""
    script = f". {path}; . {path}; echo $CUDA_HOME $PATH"
    asked = ["dash", "-euc", script]
    done = subprocess.run(asked, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.stdout == "/usr/local/cuda /usr/local/cuda/bin:/usr/bin:/bin\n", done.stderr


READERS: dict[str, Callable[[Path], None]] = {
    "ssh/sshd.conf.j2": sshd,
    "system/chrony.sources.j2": chronyd,
    "system/sudoers.j2": visudo,
    "containers/containers.conf.j2": toml,
    "containers/crio.conf.j2": crio,
    "containers/nodeproof-amd-cdi.rules.j2": udev,
    "containers/nodeproof-amd-cdi.service.j2": unit,
    "containers/nodeproof-cdi-refresh.path.j2": unit,
    "containers/nodeproof-cdi-refresh.service.j2": unit,
    "containers/nvidia-dev-char.rules.j2": udev,
    "containers/nodeproof-probe.json.j2": cdi,
    "cuda/modulefile.j2": modulefile,
    "cuda/modulefile-default.j2": modulefile,
    "cuda/no-driver.pref.j2": preferences,
    "cuda/profile.sh.j2": login_shell,
    "gpu/modprobe.conf.j2": modprobe,
    "gpu/modules.conf.j2": modules_load,
    "gpu/nodeproof-gpu.service.j2": systemd_unit,
    "gpu/nodeproof-gpu-ready.service.j2": systemd_unit,
    "gpu/nodeproof-jetson-clocks.service.j2": systemd_unit,
    "gpu/persistenced.conf.j2": daemon,
    "gpu/nodeproof-mig.j2": shell,
    "network/nodeproof.nft.j2": nft,
    "network/nftables.conf.j2": nftables_unit,
    "rocm/modprobe.conf.j2": modprobe,
    "rocm/nodeproof-rocm.service.j2": systemd_unit,
    "confinement/nodeproof-workload.j2": apparmor,
}


# Not every machine that runs these tests has these; the nodes and machines tiers have them all.
ELSEWHERE = {
    "system/chrony.sources.j2": which("chronyd") is None,
    "gpu/modprobe.conf.j2": which("modprobe") is None,
    "gpu/nodeproof-gpu.service.j2": which("systemd-analyze") is None,
    "gpu/nodeproof-gpu-ready.service.j2": which("systemd-analyze") is None,
    "gpu/nodeproof-jetson-clocks.service.j2": which("systemd-analyze") is None,
    "cuda/no-driver.pref.j2": which("apt-cache") is None,
    "cuda/profile.sh.j2": which("dash") is None,
    "network/nodeproof.nft.j2": which("nft") is None or os.geteuid() != 0,
    "rocm/modprobe.conf.j2": which("modprobe") is None,
    "rocm/nodeproof-rocm.service.j2": which("systemd-analyze") is None,
    "confinement/nodeproof-workload.j2": not Path("/etc/apparmor.d/abi/4.0").exists(),
}
