"""Every template with defaults and with all that can be asked, read by the daemon it is for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from nodeproof.catalog.distributions import distributions
from nodeproof.layers.confinement.settings import Settings as Confinement
from nodeproof.layers.containers.settings import Settings as Containers
from nodeproof.layers.ssh.settings import Settings as Ssh
from nodeproof.operations.files import render
from nodeproof.resources import shipped

TEMPLATES = shipped("templates")
LONG_NAME = "a" * 32


def ssh(**asked: Any) -> dict[str, Any]:
    settings = Ssh.model_validate(asked)
    known = {"cipher": settings.ciphers, "mac": settings.macs, "kex": settings.key_exchange}
    return {"settings": settings, "algorithms": known}


OLD_ALGORITHMS = {  # those of OpenSSH 8.4, which lacks the newest
    "key_exchange": ["curve25519-sha256", "diffie-hellman-group16-sha512"],
    "ciphers": ["aes256-gcm@openssh.com", "aes256-ctr"],
    "macs": ["hmac-sha2-512-etm@openssh.com"],
}
ALL_SSH = ssh(
    password_login=True,
    root_login="prohibit-password",
    allow_users=["ops", LONG_NAME, "_a-b"],
    allow_groups=["ml", "share$"],
    max_auth_tries=10,
    max_sessions=100,
    login_grace_s=600,
    client_alive_s=3600,
    client_alive_count=10,
    tcp_forwarding=True,
    agent_forwarding=True,
    x11_forwarding=True,
    **OLD_ALGORITHMS,
)
SERVERS = [f"ntp{n}.example" for n in range(14)] + ["192.0.2.1", "2001:db8::1"]
ALL_CONFINEMENT = Confinement(
    mode="complain",
    model_dirs=["/srv/models", "/data/a b".replace(" ", "-"), "/m@x:y+z"],
    scratch_dirs=["/srv/scratch", "/data/scratch"],
    devices=["/dev/nvidia*", "/dev/dri/{card,render}*", "/dev/infiniband/**"],
    executables=["/usr/bin/python3.?", "/opt/**"],
    network=False,
)
ALL_CONTAINERS = Containers(
    docker=True, docker_users=["ops"], live_restore=False, no_new_privileges=False, icc=True,
    userland_proxy=True, log_max_mb=10_000, log_files=100,
)  # fmt: skip
ABIS = sorted({str(row.features["apparmor_abi"]) for row in distributions().values()})

# Template to what it is rendered with, as its layer's deploy does.
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "ssh/sshd.conf.j2": {"defaults": ssh(**OLD_ALGORITHMS), "all": ALL_SSH},
    "system/chrony.sources.j2": {"one": {"servers": ["ntp.example"]}, "all": {"servers": SERVERS}},
    "system/sudoers.j2": {"one": {"user": "ops"}, "long": {"user": LONG_NAME}},
    "containers/daemon.json.j2": {
        "defaults": {"settings": Containers(docker=True), "cdi": False},
        "all": {"settings": ALL_CONTAINERS, "cdi": True},
    },
    "containers/containers.conf.j2": {
        "defaults": {"settings": Containers(), "cdi": True},
        "all": {"settings": ALL_CONTAINERS, "cdi": False},
    },
    "containers/nodeproof-probe.json.j2": {"only": {}},
    "confinement/nodeproof-workload.j2": {
        f"{name} {abi}": {"settings": settings, "abi": abi}
        for name, settings in (("defaults", Confinement()), ("all", ALL_CONFINEMENT))
        for abi in ABIS
    },
}
NOT_FOR_NODES = ("init/", "report/")
"""What `nodeproof init` copies and what reports are made of; tested with them."""

EACH = [(name, case) for name, cases in CASES.items() for case in cases]


def test_every_template_is_here() -> None:
    found = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.j2")}
    assert {name for name in found if not name.startswith(NOT_FOR_NODES)} == CASES.keys()


@pytest.mark.parametrize(("name", "case"), EACH)
def test_rendered_text_is_whole(name: str, case: str) -> None:
    text = render(name, **CASES[name][case])
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"\{\{|\{%|%\}|\{#|#\}", text)
    assert not re.search(r"\b(None|Undefined|True|False)\b|<.* object at 0x", text)
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    if not name.endswith(".json.j2"):  # JSON has no comments
        layer = name.partition("/")[0]
        first = f"# Managed by nodeproof ({layer}). Local changes are overwritten."
        assert text.splitlines()[0] == first


@pytest.mark.parametrize(
    ("name", "left_out"),
    [(name, key) for name, cases in CASES.items() for key in next(iter(cases.values()))],
)
def test_a_value_that_is_missing_is_an_error(name: str, left_out: str) -> None:
    values = dict(next(iter(CASES[name].values())))
    del values[left_out]
    with pytest.raises(UndefinedError):
        render(name, **values)


@pytest.mark.parametrize("name", CASES)
def test_template_is_within_its_budget(name: str) -> None:
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert not re.search(r"\{%-?\s*(set|macro|import|include|extends)", text), (
        "no logic but if, for"
    )


def test_every_key_of_ssh_reaches_sshd() -> None:
    """A setting that is not in the file would be a promise that nobody keeps."""
    plain, full = (
        render("ssh/sshd.conf.j2", **CASES["ssh/sshd.conf.j2"][c]) for c in ("defaults", "all")
    )
    settings = Ssh()
    same = ssh(**OLD_ALGORITHMS)["settings"].model_dump()
    for key in type(settings).model_fields:
        if key in OLD_ALGORITHMS:
            continue
        changed = ssh(**{**OLD_ALGORITHMS, key: ALL_SSH["settings"].model_dump()[key]})
        text = render("ssh/sshd.conf.j2", **changed)
        assert (text != plain) is (changed["settings"].model_dump() != same), key
        assert set(text.splitlines()) - set(plain.splitlines()) <= set(full.splitlines())


# What the daemons say


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


def dockerd(path: Path) -> None:
    assert "icc" in json.loads(path.read_text())
    checked([found("dockerd"), "--validate", "--config-file", str(path)])


def toml(path: Path) -> None:
    assert tomllib.loads(path.read_text())["containers"]["log_size_max"] > 0


def cdi(path: Path) -> None:
    spec = json.loads(path.read_text())
    assert {"cdiVersion", "kind", "devices"} == spec.keys()


def apparmor(path: Path) -> None:
    checked([found("apparmor_parser"), "-Q", "-K", str(path)])


def found(program: str) -> str:
    path = which(program)
    assert path is not None, f"{program} is not installed here"
    return path


def which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


READERS: dict[str, Callable[[Path], None]] = {
    "ssh/sshd.conf.j2": sshd,
    "system/chrony.sources.j2": chronyd,
    "system/sudoers.j2": visudo,
    "containers/daemon.json.j2": dockerd,
    "containers/containers.conf.j2": toml,
    "containers/nodeproof-probe.json.j2": cdi,
    "confinement/nodeproof-workload.j2": apparmor,
}


# Not every machine that runs these tests has these; the nodes and machines tiers have them all.
ELSEWHERE = {
    "system/chrony.sources.j2": which("chronyd") is None,
    "containers/daemon.json.j2": which("dockerd") is None,
    "confinement/nodeproof-workload.j2": not Path("/etc/apparmor.d/abi/4.0").exists(),
}
HERE = [(name, case) for name, case in EACH if not ELSEWHERE.get(name)]


@pytest.mark.parametrize(("name", "case"), HERE)
def test_the_daemon_reads_it(tmp_path: Path, name: str, case: str) -> None:
    path = tmp_path / Path(name).stem
    path.write_text(render(name, **CASES[name][case]), encoding="utf-8")
    READERS[name](path)


BROKEN = [
    ("ssh/sshd.conf.j2", "MaxSessions many"),
    ("system/chrony.sources.j2", "srever ntp.example"),
    ("system/sudoers.j2", "ops ALL="),
    ("confinement/nodeproof-workload.j2", "profile {"),
]


@pytest.mark.parametrize(("name", "line"), [one for one in BROKEN if not ELSEWHERE.get(one[0])])
def test_the_daemon_refuses_what_is_broken(tmp_path: Path, name: str, line: str) -> None:
    """Else the test above would prove nothing."""
    path = tmp_path / Path(name).stem
    case = next(iter(CASES[name].values()))
    path.write_text(render(name, **case) + f"{line}\n", encoding="utf-8")
    with pytest.raises(AssertionError):
        READERS[name](path)
