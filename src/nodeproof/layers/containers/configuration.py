"""What is asked for, in the words of each engine's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodeproof import merging
from nodeproof.layers.containers.settings import (
    AMD_RUNTIME,
    CDI_DIRECTORIES,
    NVIDIA_RUNTIME,
    NVIDIA_RUNTIME_PATH,
    Settings,
)

RUNC_V2 = "io.containerd.runc.v2"
CRI_PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
"""The plugin that Kubernetes talks to, by the version of containerd's configuration."""
CRI_NAMES = ("cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime")
"""What disables it in ``disabled_plugins``."""
NVIDIA_USUAL = {"nvidia-container-runtime": {"mode": "auto"}}
"""What NVIDIA's package writes into its own file."""

_CDI = r'  "cdi-spec-dirs": \["/etc/cdi", "/var/run/cdi"\],\n  "features": \{"cdi": true\},\n'
_BOOLEAN = "(true|false)"
DOCKER_FORMER = (
    rf'\{{\n({_CDI})?  "icc": {_BOOLEAN},\n  "live-restore": {_BOOLEAN},\n'
    r'  "log-driver": "json-file",\n'
    r'  "log-opts": \{"max-file": "[0-9]+", "max-size": "[0-9]+m"\},\n'
    rf'  "no-new-privileges": {_BOOLEAN},\n  "userland-proxy": {_BOOLEAN}\n\}}\n'
)
"""The whole daemon.json as nodeproof wrote it before it merged."""


def docker(settings: Settings, *, cdi: bool) -> dict[str, Any]:
    """Return what daemon.json must say."""
    values: dict[str, Any] = {
        "icc": settings.icc,
        "live-restore": settings.live_restore,
        "log-driver": "json-file",
        "log-opts": {
            "max-file": str(settings.log_files),
            "max-size": f"{settings.log_max_mb}m",
        },
        "no-new-privileges": settings.no_new_privileges,
        "userland-proxy": settings.userland_proxy,
    }
    if cdi:
        values |= {"cdi-spec-dirs": list(CDI_DIRECTORIES), "features": {"cdi": True}}
    if not settings.systemd_cgroup:  # with systemd and cgroup 2 it is Docker's default
        values["exec-opts"] = ["native.cgroupdriver=cgroupfs"]
    offered = {NVIDIA_RUNTIME: settings.nvidia_runtime != "none", AMD_RUNTIME: settings.amd_runtime}
    runtimes = [name for name, asked in offered.items() if asked]
    if runtimes:  # in the words of the makers' own tools
        values["runtimes"] = {
            name: {"path": f"{name}-container-runtime", "args": []} for name in runtimes
        }
    if settings.nvidia_default:
        values["default-runtime"] = NVIDIA_RUNTIME
    return values


def containerd(
    settings: Settings, *, cdi: bool, version: int, present: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what config.toml must say; `present` is what it says, `version` that of its layout.

    A runtime class that is in the file replaces containerd's built-in one as a whole, so its type
    is always said.
    """
    plugin = CRI_PLUGINS[version]
    options = {"SystemdCgroup": settings.systemd_cgroup}
    runtimes: dict[str, Any] = {"runc": {"runtime_type": RUNC_V2, "options": options}}
    if settings.nvidia_runtime != "none":
        runtimes[NVIDIA_RUNTIME] = _like_runc(
            merging.get(present, ("plugins", plugin, "containerd", "runtimes", "runc")), options
        )
    engine: dict[str, Any] = {"runtimes": runtimes}
    if settings.nvidia_default:
        engine["default_runtime_name"] = NVIDIA_RUNTIME
    wanted: dict[str, Any] = {"containerd": engine}
    if cdi:
        wanted |= {"enable_cdi": True, "cdi_spec_dirs": list(CDI_DIRECTORIES)}
    return {"version": version, "plugins": {plugin: wanted}}


def containerd_usual(version: int) -> dict[str, Any]:
    """Return what containerd's own defaults say, which `containerd config default` writes out."""
    runc = {"runtime_type": RUNC_V2, "options": {"SystemdCgroup": False}}
    engine = {"default_runtime_name": "runc", "runtimes": {"runc": runc}}
    return {"plugins": {CRI_PLUGINS[version]: {"enable_cdi": False, "containerd": engine}}}


def nvidia(settings: Settings) -> dict[str, Any]:
    """Return what the configuration of NVIDIA's runtime must say."""
    if settings.nvidia_runtime == "none":
        return {}
    return {"nvidia-container-runtime": {"mode": settings.nvidia_runtime}}


def _like_runc(runc: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a runtime class that is NVIDIA's, and otherwise as the file's own runc."""
    found = dict(runc) if isinstance(runc, Mapping) else {}
    own = found.get("options", {})
    return {
        **found,
        "runtime_type": RUNC_V2,
        "options": {**own, **options, "BinaryName": NVIDIA_RUNTIME_PATH},
    }
