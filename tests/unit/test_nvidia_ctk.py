"""What we merge for NVIDIA, beside what NVIDIA's own tool makes of the same files (recorded)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from nodeproof import merging
from nodeproof.layers.containers import configuration
from nodeproof.layers.containers.settings import Settings
from nodeproof.operations.files import render

RECORDED = Path(__file__).parent.parent / "recorded" / "nvidia-ctk"
ASKED = Settings(nvidia_runtime="cdi")
PLAIN = Settings(cdi=False)
"""Without CDI and NVIDIA: what is then asked for has nothing to do with NVIDIA's tool."""

CRI = {2: "plugins.io.containerd.grpc.v1.cri", 3: "plugins.io.containerd.cri.v1.runtime"}
DIRECTORIES = "its default directories are said, as those of Docker are: a check reads them"
IN_PLACE = "the file itself is merged: in a drop-in, containerd before 2.1 takes the whole plugin"
SYSTEMD = "its cgroups are made by whoever makes runc's: Kubernetes takes one answer for all"
RUNC = "a class of runc's in the file replaces the built-in one, so that its type is said, too"
DEFAULTS = "what is empty, or containerd's default, is not said"
CRIO = "CRI-O takes what a class does not say from its defaults"


def containerd_differences(version: int, *, runc_said: bool) -> dict[str, str]:
    """Return the keys that differ wherever containerd is, and why."""
    runtimes = f"{CRI[version]}.containerd.runtimes"
    said = {
        "imports": IN_PLACE,
        f"{CRI[version]}.cdi_spec_dirs": DIRECTORIES,
    }
    if runc_said:
        return said
    return said | {
        f"{runtimes}.nvidia.options.SystemdCgroup": SYSTEMD,
        f"{runtimes}.nvidia.privileged_without_host_devices": DEFAULTS,
        f"{runtimes}.nvidia.runtime_engine": DEFAULTS,
        f"{runtimes}.nvidia.runtime_root": DEFAULTS,
        f"{runtimes}.runc.runtime_type": RUNC,
        f"{runtimes}.runc.options.SystemdCgroup": SYSTEMD,
    }


# Every key that differs, and why it does on purpose.
DIFFERENCES: dict[str, dict[str, str]] = {
    "docker-mirrors.json": {"cdi-spec-dirs": DIRECTORIES},
    "docker-other-runtime.json": {"cdi-spec-dirs": DIRECTORIES},
    "containerd-debian-13.toml": containerd_differences(2, runc_said=False),
    "containerd-2-imports.toml": containerd_differences(3, runc_said=False),
    "containerd-2-own.toml": containerd_differences(3, runc_said=True),
    "containerd-1.7-default.toml": {
        "imports": IN_PLACE,
        f"{CRI[2]}.containerd.runtimes.nvidia.options.SystemdCgroup": SYSTEMD,
        f"{CRI[2]}.containerd.runtimes.runc.options.SystemdCgroup": SYSTEMD,
    },
    "crio-crun.toml": {
        "crio.runtime.cgroup_manager": "said, because it is a setting",
        "crio.runtime.cdi_spec_dirs": DIRECTORIES,
        "crio.runtime.runtimes.nvidia.allowed_annotations": CRIO,
        "crio.runtime.runtimes.nvidia.monitor_path": CRIO,
        "crio.runtime.runtimes.nvidia.runtime_root": CRIO,
    },
}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def together(*tables: dict[str, Any]) -> dict[str, Any]:
    """Return what an engine makes of several files, the last first."""
    whole: dict[str, Any] = {}
    for key, value in (leaf for one in tables for leaf in merging.leaves(one)):
        table = whole
        for part in key[:-1]:
            table = table.setdefault(part, {})
        table[key[-1]] = value
    return whole


def ours(name: str) -> dict[str, Any]:
    text = read(RECORDED / "before" / name)
    if name.startswith("crio"):
        own = render("containers/crio.conf.j2", settings=ASKED)
        return together(tomllib.loads(text), tomllib.loads(own))
    if name.startswith("docker"):
        values = configuration.docker(ASKED, cdi=True)
        values = {
            k: v for k, v in values.items() if k not in configuration.docker(PLAIN, cdi=False)
        }
        return merging.parsed(merging.merge(text, "json", values).text, "json")
    present = merging.parsed(text, "toml")
    version = present["version"]
    values = configuration.containerd(ASKED, cdi=True, version=version, present=present)
    usual = configuration.containerd_usual(version)
    return merging.parsed(merging.merge(text, "toml", values, usual=usual).text, "toml")


def theirs(name: str) -> dict[str, Any]:
    after = RECORDED / "after"
    form: merging.Format = "json" if name.endswith(".json") else "toml"
    drop_in = after / f"{name}.drop-in"
    more = tomllib.loads(read(drop_in)) if drop_in.exists() else {}
    return together(merging.parsed(read(after / name), form), more)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_same_as_nvidias_own_but_for_what_is_named(name: str) -> None:
    one = {".".join(key): value for key, value in merging.leaves(ours(name))}
    other = {".".join(key): value for key, value in merging.leaves(theirs(name))}
    assert {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)} == {
        *DIFFERENCES[name]
    }


def test_every_recorded_file_is_compared() -> None:
    assert {path.name for path in (RECORDED / "before").iterdir()} == DIFFERENCES.keys()
    recorded = {path.name.removesuffix(".drop-in") for path in (RECORDED / "after").iterdir()}
    assert recorded == DIFFERENCES.keys()


@pytest.mark.parametrize("name", DIFFERENCES)
def test_nothing_of_the_users_is_lost(name: str) -> None:
    before = merging.parsed(read(RECORDED / "before" / name), "json" if "json" in name else "toml")
    after = dict(merging.leaves(ours(name)))
    changed = {".".join(key) for key, value in merging.leaves(before) if after.get(key) != value}
    assert changed <= DIFFERENCES[name].keys() | {f"{CRI[2]}.enable_cdi"}


@pytest.mark.parametrize("name", [name for name in DIFFERENCES if name.startswith("docker")])
def test_after_nvidias_own_nothing_is_left_to_do(name: str) -> None:
    """Who ran nvidia-ctk before is not told that the two disagree."""
    text = read(RECORDED / "after" / name)
    values = configuration.docker(ASKED, cdi=True)
    mine = {key: values[key] for key in ("features", "runtimes")}
    assert merging.merge(text, "json", mine).text == text
