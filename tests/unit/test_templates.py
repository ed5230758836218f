"""Every template with defaults and with all that can be asked, read by the daemon it is for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from tests.unit.template_readers import ELSEWHERE, MODULEFILE, READERS

from nodeproof.catalog.distributions import distributions
from nodeproof.catalog.whole import shipped as shipped_catalog
from nodeproof.layers.confinement.settings import Settings as Confinement
from nodeproof.layers.containers.settings import Settings as Containers
from nodeproof.layers.gpu.confidential import CRYPTO, KEEPS
from nodeproof.layers.gpu.settings import DIVIDER
from nodeproof.layers.gpu.settings import Settings as Gpu
from nodeproof.layers.gpu.wanted import wanted_commands
from nodeproof.layers.network import ruleset
from nodeproof.layers.network.settings import Settings as Network
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
    userland_proxy=True, log_max_mb=10_000, log_files=100, containerd=True, crio=True,
    nvidia_runtime="legacy", nvidia_default=True, systemd_cgroup=False,
)  # fmt: skip
ALL_GPU = Gpu(
    module_options={"NVreg_EnableGpuFirmware": "0x10"}, compute_mode="exclusive-process",
    power_limit_w=400, ecc=True, mig={"3g.40gb": 2}, gds=True, gdrcopy=True, peer_access="peermem",
    restrict_profiling=False, graphics_clocks_mhz=[1200, 1500], memory_clocks_mhz=[],
)  # fmt: skip
ALL_NETWORK = Network(
    trusted={"fabric": ["10.0.0.0/24", "10.0.1.0/24", "2001:db8::/32"], "one": ["192.0.2.7"]},
    interfaces=["eth1"],
    open=[{"port": 443}, {"port": "9000-9100", "protocol": "udp", "source": "one"}],
    ssh_sources=["trusted", "198.51.100.0/24"], services=["nfs", "kubernetes-control-plane"],
    egress="listed", egress_open=[{"port": 25, "destination": "2001:db8:1::1"}], level=2,
    roles=["kubernetes", "slurm", "openpbs", "mpi", "rdma", "containers", "rootless"],
)  # fmt: skip
DROPIN = {"path": ruleset.PATH, "table": ruleset.TABLE}
AMD_SMI = "/opt/rocm/core-7.14/bin/amd-smi"
ABIS = sorted(
    {str(row.features["apparmor_abi"]) for row in distributions().values() if not row.layers}
)

# Template to what it is rendered with, as its layer's deploy does.
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "ssh/sshd.conf.j2": {"defaults": ssh(**OLD_ALGORITHMS), "all": ALL_SSH},
    "system/chrony.sources.j2": {"one": {"servers": ["ntp.example"]}, "all": {"servers": SERVERS}},
    "system/sudoers.j2": {"one": {"user": "ops"}, "long": {"user": LONG_NAME}},
    "containers/crio.conf.j2": {
        "defaults": {"settings": Containers(crio=True)},
        "all": {"settings": ALL_CONTAINERS},
    },
    "containers/nodeproof-amd-cdi.rules.j2": {"only": {}},
    "containers/nodeproof-amd-cdi.service.j2": {"only": {}},
    "containers/nodeproof-cdi-refresh.path.j2": {"only": {}},
    "containers/nodeproof-cdi-refresh.service.j2": {"only": {}},
    "containers/nvidia-dev-char.rules.j2": {"only": {}},
    "containers/containers.conf.j2": {
        "defaults": {"settings": Containers(), "cdi": True},
        "all": {"settings": ALL_CONTAINERS, "cdi": False},
    },
    "containers/nodeproof-probe.json.j2": {"only": {}},
    "cuda/modulefile.j2": {
        "one": {"series": "13.1", "forward": False},
        "forward": {"series": "13.1", "forward": True},
    },
    "cuda/modulefile-default.j2": {"only": {"series": "12.9"}},
    "cuda/no-driver.pref.j2": {"wsl": {"never": shipped_catalog().platforms["wsl2"].never}},
    "cuda/profile.sh.j2": {
        "forward": {"forward": True, "series": "13.1"},
        "one": {"forward": False, "series": "13.1"},
    },
    "gpu/modprobe.conf.j2": {
        "defaults": {"options": sorted(Gpu().options.items()), "nouveau_off": True, "before": ""},
        "all": {"options": sorted(ALL_GPU.options.items()), "nouveau_off": False, "before": CRYPTO},
    },
    "gpu/modules.conf.j2": {"all": {"modules": ALL_GPU.modules_at_boot}},
    "gpu/nodeproof-gpu.service.j2": {
        "all": {"divider": DIVIDER, "commands": wanted_commands(ALL_GPU)},
        "one": {"divider": "", "commands": wanted_commands(Gpu(ecc=False))},
    },
    "gpu/nodeproof-gpu-ready.service.j2": {"one": {"attested_by": "multi-user.target"}},
    "gpu/nodeproof-jetson-clocks.service.j2": {"only": {}},
    "gpu/persistenced.conf.j2": {"only": {"keeps": KEEPS}},
    "gpu/nodeproof-mig.j2": {
        "some": {"asked": "3g.40gb 3g.40gb", "profiles": "3g.40gb,3g.40gb"},
        "none": {"asked": "", "profiles": ""},
    },
    "rocm/modprobe.conf.j2": {"all": {"options": [("noretry", "0"), ("vm_size", "-1")]}},
    "rocm/nodeproof-rocm.service.j2": {
        "all": {"compute": "CPX", "memory": "NPS4", "amd_smi": AMD_SMI},
        "one": {"compute": None, "memory": "NPS1", "amd_smi": AMD_SMI},
        "other": {"compute": "SPX", "memory": None, "amd_smi": AMD_SMI},
    },
    "network/nodeproof.nft.j2": {
        "defaults": ruleset.values(Network(), [22]),
        "containers": ruleset.values(Network(roles=["containers"]), [22]),
        "open": ruleset.values(
            Network(roles=["rootless"], container_ports="open", log=False), [22]
        ),
        "all": ruleset.values(ALL_NETWORK, [22, 2222]),
    },
    "network/nftables.conf.j2": {"only": DROPIN},
    "confinement/nodeproof-workload.j2": {
        f"{name} {abi}": {"settings": settings, "abi": abi}
        for name, settings in (("defaults", Confinement()), ("all", ALL_CONFINEMENT))
        for abi in ABIS
    },
}
NOT_FOR_NODES = ("init/", "report/")
"""What `nodeproof init` copies and what reports are made of; tested with them."""

"""By this first line Environment Modules and Lmod know their own."""

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
        lines = [line for line in text.splitlines() if line != MODULEFILE]
        assert first in lines[:1] or lines[:2] == ["#!/bin/sh", first]


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
    ("gpu/modules.conf.j2", "nvidia peermem"),
    ("network/nodeproof.nft.j2", "table inet nodeproof { chain input { tcp dport none accept; } }"),
    ("network/nftables.conf.j2", "ExecStop=/usr/sbin/nft flush ruleset"),
    ("cuda/modulefile.j2", "prepend-paht PATH /usr/local/cuda-13.1/bin"),
    ("cuda/no-driver.pref.j2", "\nPin: release *"),
    ("cuda/profile.sh.j2", "esac"),
    ("rocm/modprobe.conf.j2", "choices amdgpu vm_size=1"),
    ("rocm/nodeproof-rocm.service.j2", "[Service]\nType=simple"),
]


@pytest.mark.parametrize(("name", "line"), [one for one in BROKEN if not ELSEWHERE.get(one[0])])
def test_the_daemon_refuses_what_is_broken(tmp_path: Path, name: str, line: str) -> None:
    """Else the test above would prove nothing."""
    path = tmp_path / Path(name).stem
    case = next(iter(CASES[name].values()))
    path.write_text(render(name, **case) + f"{line}\n", encoding="utf-8")
    with pytest.raises(AssertionError):
        READERS[name](path)
