"""What NVIDIA's repository has for a node with NVSwitches, as the gpu layer asks for it.

The packages of `vendor.driver` with what the layer starts and looks for: units, the sources that
DKMS builds, and a pinning package for each version, as the driver installation guide names them.
"""

from __future__ import annotations

from dataclasses import replace

from tests.repositories import vendor
from tests.repositories.deb import Package
from tests.repositories.layer_scene import WAITS

UNIT = """[Unit]
Description={name}
[Service]
Type=oneshot
ExecStart=/bin/false
[Install]
WantedBy=multi-user.target
"""
UNITS = {
    "nvidia-persistenced": "nvidia-persistenced.service",
    "nvidia-fabricmanager": "nvidia-fabricmanager.service",
    "datacenter-gpu-manager-4-core": "nvidia-dcgm.service",
    "nvidia-imex": "nvidia-imex.service",
}
IMEX_NODES = "/etc/nvidia-imex/nodes_config.cfg"
STAYS = "nvidia-persistenced"
"""The package in whose script a test can stay."""


def repository() -> list[Package]:
    """Return all that it has: three drivers, DCGM, and what nobody asked for."""
    drivers = [one for version in VERSIONS for one in driver(version)]
    cuda_13 = Package(
        "datacenter-gpu-manager-4-cuda13",
        "1:4.6.0-1",
        depends="datacenter-gpu-manager-4-core (= 1:4.6.0-1)",
    )
    return [*drivers, *map(_with_unit, vendor.others()), cuda_13]


VERSIONS = (vendor.OLD, vendor.NEWER, vendor.NEXT)


def driver(version: str) -> list[Package]:
    """Return the packages of one driver version."""
    upstream = version.rpartition("-")[0]
    kept = [one for one in vendor.driver(version) if "pinning" not in one.name]
    pin = f"Package: nvidia-* libnvidia-* libcuda1\nPin: version {upstream}*\nPin-Priority: 1000\n"
    path = "/etc/apt/preferences.d/nvidia-driver-pin"
    return [
        *(_with_source(_with_unit(one), upstream) for one in kept),
        Package("nvidia-modprobe", version),
        _with_unit(
            Package("nvidia-imex", version, files={IMEX_NODES: ""}, conffiles=(IMEX_NODES,))
        ),
        Package(
            f"nvidia-driver-pinning-{upstream}",
            f"{upstream}-1",
            conflicts="nvidia-driver-pinning",
            provides="nvidia-driver-pinning",
            architecture="all",
            files={path: pin},
            conffiles=(path,),
        ),
    ]


def _imex(version: str) -> Package:
    return Package("nvidia-imex", version, files={IMEX_NODES: ""}, conffiles=(IMEX_NODES,))


def headers(kernel: str) -> Package:
    """Return the distribution's headers of a kernel, in name only."""
    return Package(f"linux-headers-{kernel}", "6.1.1-1")


def _with_unit(package: Package) -> Package:
    if package.name not in UNITS:
        return package
    unit = UNITS[package.name]
    files = {f"/usr/lib/systemd/system/{unit}": UNIT.format(name=package.name)}
    scripts = {"preinst": WAITS} if package.name == STAYS else {}
    return replace(package, files={**package.files, **files}, scripts=scripts)


def _with_source(package: Package, upstream: str) -> Package:
    if package.name != "nvidia-kernel-open-dkms":
        return package
    conf = f'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="{upstream}"\n'
    return replace(package, files={f"/usr/src/nvidia-{upstream}/dkms.conf": conf})
