"""What may be asked of the containers layer."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator
from typing_extensions import override

from nodeproof.catalog.resolve.asked import (
    AdvisoryId,
    KeyFingerprint,
    KeyUri,
    OfAccelerators,
    ReleaseOrNone,
    RepositoryUri,
)
from nodeproof.settings import setting
from nodeproof.settings.types import UserName

PROBE_IMAGE = "localhost/nodeproof/probe:1"
"""An image of the node's own shell, made there; checks run it."""
PROBE_DEVICE = "nodeproof.local/probe=probe"
"""A CDI device that only sets PROBE_VARIABLE in a container."""
PROBE_VARIABLE = "NODEPROOF_CDI"
CDI_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
NVIDIA_RUNTIME = "nvidia"
"""What engines call NVIDIA's runtime, and users ask for with --runtime."""
NVIDIA_RUNTIME_PATH = "/usr/bin/nvidia-container-runtime"
NVIDIA_CTK = "/usr/bin/nvidia-ctk"
NVIDIA_SMI = "/usr/bin/nvidia-smi"
"""Where the units that refresh the CDI specification look for it."""
NVIDIA_CDI = "/var/run/cdi/nvidia.yaml"
AMD_RUNTIME = "amd"
"""What Docker calls AMD's runtime."""
AMD_PACKAGE = "amd-container-toolkit"
AMD_CTK = "/usr/local/bin/amd-ctk"
AMD_RUNTIME_PATH = "/usr/local/bin/amd-container-runtime"
"""Where AMD's package for apt has its programs; those for dnf are in /usr/bin."""
AMD_CDI = "/var/run/cdi/amd.json"
"""Not in /etc/cdi, where AMD's documentation has it: its package deletes that folder."""
CONTAINERD_CONF = "/etc/containerd/config.toml"
NVIDIA_CONF = "/etc/nvidia-container-runtime/config.toml"


class Settings(OfAccelerators):
    """Settings of the containers layer."""

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines for people that are asked for, by the names of their commands."""
        return (*(["podman"] if self.podman else []), *(["docker"] if self.docker else []))

    podman: bool = setting(True, "install Podman")
    docker: bool = setting(False, "install Docker")
    containerd: bool = setting(
        False, "install containerd and set it up for Kubernetes, or for nerdctl"
    )
    crio: bool = setting(
        False, "set up CRI-O, which must be installed: the distributions do not have it"
    )
    compose: bool = setting(True, "install Compose for each engine that is asked for")
    cdi: bool = setting(
        True,
        "hand out devices by CDI specifications in /etc/cdi and /var/run/cdi; Docker can since 25 "
        "and containerd since 1.7, so on Debian 12 only Podman does",
    )
    toolkit: ReleaseOrNone = setting(
        "none",
        "the container toolkit of the maker of the node's GPUs, from its own repository: none, "
        "latest, or a version; none leaves alone what there is",
    )
    repository_uri: RepositoryUri | None = setting(
        None, "a mirror of the toolkit's repository, signed by its maker's key or repository_key"
    )
    repository_key: KeyFingerprint | None = setting(
        None, "fingerprint of the repository's key, where a mirror signs anew, or none is known"
    )
    repository_key_uri: KeyUri | None = setting(
        None, "where its key is; none: where its maker has it"
    )
    allow_insecure: list[AdvisoryId] = setting(
        [], "advisories that you have read and accept, by id, e.g. nvidia-5850"
    )
    nvidia_runtime: Literal["none", "cdi", "legacy"] = setting(
        "none",
        "offer NVIDIA's runtime beside CDI, for those who ask with --runtime=nvidia or by a "
        "runtime class; cdi: it hands out CDI devices; legacy: its hook hands out devices, which "
        "containers lose when systemd reloads, unless systemd_cgroup is false",
    )
    nvidia_default: bool = setting(
        False, "NVIDIA's runtime is the default one of Docker, containerd and CRI-O"
    )
    amd_runtime: bool = setting(
        False,
        "offer AMD's runtime in Docker beside CDI, for those who ask with --runtime=amd or --gpus; "
        "it needs Docker 25",
    )
    selinux_devices: bool | None = setting(
        None,
        "where SELinux is on, whether its policy lets containers use devices that they are given: "
        "container_use_devices, or what the policy has of it; none: where a toolkit is asked for",
    )
    systemd_cgroup: bool = setting(
        True, "systemd makes the cgroups of containers, as Kubernetes expects; false: the engine"
    )
    on_conflict: Literal["refuse", "replace"] = setting(
        "refuse",
        "where a file that others write, too, says otherwise than is asked here: refuse to apply, "
        "or replace what it says",
    )
    docker_users: list[UserName] = setting(
        [], "the only users who may use Docker; whoever may is as good as root on the node"
    )
    live_restore: bool = setting(
        True, "Docker's containers go on while its daemon restarts; excludes Swarm"
    )
    no_new_privileges: bool = setting(
        True, "processes in Docker's containers cannot gain privileges, e.g. by sudo"
    )
    icc: bool = setting(
        False, "containers on Docker's default bridge reach each other; on Compose's own they do"
    )
    userland_proxy: bool = setting(
        False, "a process per published port of Docker, instead of the kernel's packet filter"
    )
    log_max_mb: int = setting(50, "a container's log is turned over at", unit="MB", ge=1, le=10_000)
    log_files: int = setting(3, "logs kept of each of Docker's containers", ge=1, le=100)

    @override
    def asks(self) -> dict[str, Any]:
        """Return the toolkit, where one is asked for; who accepts an advisory, accepts it of it."""
        if self.toolkit == "none":
            return {}
        return {"container_toolkit": self.toolkit, "allow_insecure": self.allow_insecure}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.nvidia_default and self.nvidia_runtime == "none":
            raise ValueError('nvidia_default is true, but nvidia_runtime is "none"; use "cdi"')
        if self.amd_runtime and not self.docker:
            raise ValueError("amd_runtime is true, but docker is false: it is for Docker only")
        if self.nvidia_runtime == "cdi" and not self.cdi:
            raise ValueError('nvidia_runtime is "cdi", but cdi is false')
        if self.nvidia_runtime == "legacy" and self.systemd_cgroup:
            raise ValueError(
                'nvidia_runtime is "legacy" and systemd_cgroup is true: containers would lose '
                'their GPUs at every systemctl daemon-reload; use "cdi", or set systemd_cgroup '
                "to false"
            )
        return self
