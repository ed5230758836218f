"""NVIDIA's repository of drivers and CUDA: one on a node, whichever layers install from it."""

from __future__ import annotations

from nodeproof.catalog.resolve.asked import FromNvidia
from nodeproof.catalog.resolve.build import WSL
from nodeproof.catalog.resolve.choice import Place
from nodeproof.catalog.whole import Catalog
from nodeproof.repositories import vendor
from nodeproof.repositories.spec import AptRepository, DnfRepository
from nodeproof.repositories.vendor import Mirror

NAME = "cuda"
"""What it is called on a node; see `nodeproof.facts.gpu`, which looks for it."""
DRIVER = (
    *("nvidia-*", "libnvidia-*", "libcuda*", "libcudadebugger*", "libnvoptix*", "libnvcuvid*"),
    *("libnvsdm", "firmware-nvidia-*", "cuda-drivers*", "xserver-xorg-video-nvidia*", "nvlsm"),
    *("libxnvctrl*", "datacenter-gpu-manager-4-*", "gds-tools-*", "libcufile-*", "gdrdrv-dkms"),
    *("libgdrapi", "gdrcopy-tests"),
)
TOOLKIT = (
    *("cuda-*", "cccl-*", "libcublas-*", "libcufft-*", "libcuobjclient-*", "libcurand-*"),
    *("libcusolver-*", "libcusparse-*", "libnpp-*", "libnvfatbin-*", "libnvjitlink-*"),
    *("libnvjpeg-*", "libnvptxcompiler-*", "libnvvm-*", "nsight-compute-*", "nsight-systems-*"),
    *("libcudnn9-*", "libnccl2", "libnccl-dev"),
)
SUPPLIES = (*DRIVER, *TOOLKIT)
"""What may come from there; it has much more, and some of the distribution's.

The list is the same whichever layers a node has, so that they do not take turns with one file.
"""
RPM_SUPPLIES = (
    *SUPPLIES,
    *("kmod-nvidia-*", "xorg-x11-nvidia", "egl-gbm", "egl-wayland*", "egl-x11", "gdrcopy*"),
    *("libnccl", "libnccl-devel", "libnccl-static"),
)
"""The same where packages are called as rpm's are; the driver needs these builds of EGL."""


def repository(
    asked: FromNvidia, place: Place, catalog: Catalog
) -> AptRepository | DnfRepository | None:
    """Return the repository with the key that is pinned; None where nobody knows which that is."""
    mirror = Mirror(
        asked.repository_uri, asked.repository_key, asked.repository_key_uri, beside=True
    )
    entry = catalog.repositories[place.repository]
    if entry.family != "rpm":
        supplies = TOOLKIT if place.repository == WSL else SUPPLIES
        return vendor.repository(NAME, place, catalog, supplies, mirror)
    key = vendor.signing_key(place, catalog, mirror)
    uris = (mirror.uri or entry.uri,)
    return DnfRepository(name=NAME, uris=uris, supplies=RPM_SUPPLIES, key=key) if key else None
