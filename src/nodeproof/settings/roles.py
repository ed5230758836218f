"""What a node is for: roles decide where a strict setting would stop the node's own work."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from nodeproof.settings.model import LayerSettings, setting


class Role(StrEnum):
    """One thing that a node does; a node may have several."""

    CONTAINERS = "containers"
    """Containers that root's daemons or services start: Docker, Podman, containerd, CRI-O."""
    ROOTLESS = "rootless"
    """Containers that users start without root: rootless Podman or Docker, Apptainer."""
    KUBERNETES = "kubernetes"
    SLURM = "slurm"
    OPENPBS = "openpbs"
    MPI = "mpi"
    """Ranks on one node read each other's memory (cross-memory attach)."""
    RDMA = "rdma"
    """InfiniBand, RoCE or soft-RoCE, on one rail or several."""
    ENROOT = "enroot"
    """Images as squashfs, mounted in user namespaces: enroot, pyxis, Apptainer's SIF."""
    GPU_DKMS = "gpu-dkms"
    """Kernel modules of accelerators that are built on the node."""
    TRAINING = "training"
    INFERENCE = "inference"
    NOTEBOOK = "notebook"
    """Jupyter and its like, reached through ssh or a port."""
    MULTI_TENANT = "multi-tenant"
    """Users who must not see each other's work."""
    EDGE = "edge"
    """Outside a data centre: few people near it, many passers-by."""


class OfRoles(LayerSettings):
    """Settings of a layer whose values depend on what the node is for."""

    roles: list[Annotated[Role, Field(strict=False)]] = setting(
        [], "what the node is for; none: the `roles` that stand beside the layers"
    )


class NodeRoles(LayerSettings):
    """The key `roles` beside the layers: it is every layer's that takes roles."""

    roles: list[Annotated[Role, Field(strict=False)]] = setting([], "what the node is for")
