"""What a vendor's repository holds: NVIDIA's, as gpu nodes use it, in three driver versions.

Modelled on the CUDA repository for Debian and on NVIDIA's driver installation guide, release 615:
from 580 on, names have no branch, a pinning package chooses the branch, and what belongs to a
driver has exactly its version. Which package needs which is simplified.
"""

from __future__ import annotations

from tests.repositories.deb import Package

OLD, NEWER, NEXT = "580.126.09-1", "580.178.04-1", "595.91.07-1"
"""In the branch 580, newer in the same branch, and the next production branch."""

SUPPLIES = (
    *("nvidia-*", "libnvidia-*", "libcuda1", "firmware-nvidia-gsp", "cuda-*"),
    "datacenter-gpu-manager-4-*",
)

DRIVER = ("nvidia-open", "nvidia-fabricmanager", "libnvidia-nscq")
"""What is asked for; the rest follows by exact dependencies."""

LOCKSTEP = (
    *("nvidia-open", "nvidia-driver", "nvidia-driver-cuda", "nvidia-kernel-open-dkms", "libcuda1"),
    *("firmware-nvidia-gsp", "nvidia-persistenced", "nvidia-fabricmanager", "libnvidia-nscq"),
)


def driver(version: str) -> list[Package]:
    """Return the packages of one driver version."""
    branch = version.partition(".")[0]
    same = f"(= {version})"
    pinning = f"nvidia-driver-pinning-{branch}"
    return [
        Package(
            "nvidia-open",
            version,
            depends=f"nvidia-driver {same}, nvidia-kernel-open-dkms {same}",
            architecture="all",
        ),
        Package("nvidia-driver", version, depends=f"nvidia-driver-cuda {same}"),
        Package(
            "nvidia-driver-cuda",
            version,
            depends=f"libcuda1 {same}, nvidia-persistenced (>= {version})",
        ),
        Package(
            "nvidia-kernel-open-dkms",
            version,
            depends=f"firmware-nvidia-gsp {same}",
            conflicts="nvidia-kernel-dkms",
            provides=f"nvidia-kernel-dkms {same}",
        ),
        Package("libcuda1", version),
        Package("firmware-nvidia-gsp", version),
        Package("nvidia-persistenced", version),
        Package("nvidia-fabricmanager", version, depends=f"nvidia-driver-cuda {same}"),
        Package("libnvidia-nscq", version),
        # Before 595 there were also packages with the branch in their names.
        *([_open_580(version)] if branch == "580" else []),
        Package(
            pinning,
            f"{branch}-1",
            conflicts="nvidia-driver-pinning",
            provides="nvidia-driver-pinning",
            architecture="all",
            files={"/etc/apt/preferences.d/nvidia-driver-pin": _pin(branch)},
            conffiles=("/etc/apt/preferences.d/nvidia-driver-pin",),
        ),
    ]


def _open_580(version: str) -> Package:
    return Package(
        "nvidia-open-580", version, depends=f"nvidia-open (= {version})", architecture="all"
    )


def _pin(branch: str) -> str:
    return f"Package: nvidia-* libnvidia-* libcuda1\nPin: version {branch}.*\nPin-Priority: 1000\n"


def others() -> list[Package]:
    """Return what goes its own way: DCGM, the container toolkit, CUDA, the keyring package."""
    dcgm, toolkit = "1:4.6.0-1", "1.19.1-1"
    return [
        Package("datacenter-gpu-manager-4-core", dcgm),
        Package(
            "datacenter-gpu-manager-4-cuda12",
            dcgm,
            depends=f"datacenter-gpu-manager-4-core (= {dcgm})",
        ),
        Package(
            "nvidia-container-toolkit",
            toolkit,
            depends=f"nvidia-container-toolkit-base (= {toolkit}), "
            f"libnvidia-container-tools (>= {toolkit})",
        ),
        Package("nvidia-container-toolkit-base", toolkit),
        Package(
            "libnvidia-container-tools", toolkit, depends=f"libnvidia-container1 (>= {toolkit})"
        ),
        Package("libnvidia-container1", toolkit),
        Package("cuda-toolkit-12-9", "12.9.1-1", architecture="all"),
        # Nobody asked for these: one that the distribution has, too, and one that nothing names.
        Package("hostname", "99:1.0-1"),
        Package("vendor-telemetry", "1.0-1", architecture="all"),
    ]
