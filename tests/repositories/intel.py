"""What Intel's repositories have for GPUs and for Gaudi, as the intel layer asks for it.

Names, suites and which versions are alike follow Intel's guides: LTS 2523 has a version a package,
and all of Gaudi's have one. Versions of the GPUs' packages, and which package needs which, are made
up. A distribution has some of the GPUs' packages under the same names.
"""

from __future__ import annotations

from tests.repositories.deb import Package

OLD, NEW = "1.23.0-695", "1.24.1-482"
"""Gaudi's releases."""
KERNEL = "6.8.0-90-generic"
HL_SMI = "#!/bin/sh\nexit 1\n"


def gpu() -> list[Package]:
    """Return the packages of LTS 2523."""
    conf = 'PACKAGE_NAME="intel-i915-dkms"\nPACKAGE_VERSION="1.25.2.10"\n'
    return [
        Package(
            "intel-i915-dkms",
            "1.25.2.10-1",
            depends="intel-fw-gpu",
            architecture="all",
            files={"/usr/src/intel-i915-dkms-1.25.2.10/dkms.conf": conf},
        ),
        Package("intel-fw-gpu", "2025.23.1-1", architecture="all"),
        Package("intel-opencl-icd", "25.18.1-1~24.04", depends="libigc2, libigdgmm12"),
        Package("libze-intel-gpu1", "25.18.1-1~24.04", depends="libigc2, libigdgmm12"),
        Package("libze1", "1.21.9-1~24.04"),
        Package("libigc2", "2.10.8-1~24.04"),
        Package("libigdgmm12", "22.7.2-1~24.04"),
        Package("xpu-smi", "1.2.42-1~24.04", depends="libze1"),
        # Nobody asks for a desktop.
        Package("hostname", "99:1.0-1"),
    ]


def of_the_distribution() -> list[Package]:
    """Return what the distribution has itself: some of the same, newer by their numbers."""
    return [
        Package("libze1", "1.99.0-1ubuntu1"),
        Package("intel-opencl-icd", "99.43.1-1ubuntu3"),
        *(Package(f"linux-{one}-{KERNEL}", "6.8.0-90.91") for one in ("headers", "modules-extra")),
        Package("flex", "2.6.4-8"),
        Package("bison", "2:3.8.2-1"),
    ]


def gaudi(version: str) -> list[Package]:
    """Return the packages of a release of Gaudi's."""
    conf = f'PACKAGE_NAME="habanalabs"\nPACKAGE_VERSION="{version}"\n'
    same = f"(= {version})"
    return [
        Package(
            "habanalabs-dkms",
            version,
            depends="habanalabs-firmware",
            architecture="all",
            files={f"/usr/src/habanalabs-{version}/dkms.conf": conf},
        ),
        Package("habanalabs-firmware", version),
        Package("habanalabs-thunk", version, architecture="all"),
        Package("habanalabs-rdma-core", version, architecture="all"),
        Package(
            "habanalabs-firmware-tools",
            version,
            depends=f"habanalabs-thunk {same}",
            files={"/usr/bin/hl-smi": HL_SMI},
        ),
        Package("habanalabs-container-runtime", version),
    ]
