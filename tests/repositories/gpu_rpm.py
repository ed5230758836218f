"""What NVIDIA's repository for EL has, as the gpu layer asks for it, and what the node's own has.

The packages of `rpm.driver` with what the layer starts and looks for: units and the sources that
DKMS builds. dkms comes from EPEL, headers and the versionlock plugin from the distribution.
"""

from __future__ import annotations

from dataclasses import replace

from tests.repositories import rpm
from tests.repositories.gpu import STAYS, UNIT, UNITS
from tests.repositories.layer_scene import WAITS
from tests.repositories.rpm import Rpm, Source

KERNELS = {"9": "5.14.0-687.51.1.el9_8.x86_64", "10": "6.12.0-211.16.1.el10_2.x86_64"}
"""The last ones of 9.8 and 10.2 that the vendor built modules for, or a build later."""
PARTS = (*rpm.LOCKSTEP, "nvidia-modprobe")


def repository(release: str) -> list[Source]:
    """Return all that it has: three drivers, DCGM, and what nobody asked for."""
    drivers = [_driver(version, release) for version in (rpm.OLD, rpm.NEWER, rpm.NEXT)]
    dcgm, *others = rpm.others()
    core = _with_unit(dcgm.packages[0])
    cuda_13 = Rpm("datacenter-gpu-manager-4-cuda13", (core.name,))
    unasked = [one for one in others if "cuda" not in one.packages[0].name]  # see `cuda_rpm`
    return [*drivers, replace(dcgm, packages=(core, cuda_13)), *unasked]


def distribution(release: str) -> list[Source]:
    """Return what comes from elsewhere, in name only."""
    version, _, build = KERNELS[release].removesuffix(".x86_64").partition("-")
    headers = tuple(map(Rpm, ("kernel-devel", "kernel-devel-matched", "kernel-headers")))
    end = f"1.el{release}"
    return [
        Source(version, headers, "", build, native=True),
        Source("3.3.0", (Rpm("dkms"),), "", end),
        # The root has a shell that no package of rpm's brought; scripts of packages need one.
        Source("5.1.8", (Rpm("bash", provides=("/bin/sh",)),), "", end),
        Source("4.3.0", (Rpm("python3-dnf-plugin-versionlock"),), "", end),
    ]


def _driver(version: str, release: str) -> Source:
    made = rpm.driver(version, f"1.el{release}")
    conf = f'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="{version}"\n'
    dkms = Rpm(
        "kmod-nvidia-open-dkms",
        ("dkms >= 3.1.8",),
        files={f"/usr/src/nvidia-{version}/dkms.conf": conf},
    )
    packages = [dkms if one.name == dkms.name else _with_unit(one) for one in made.packages]
    return replace(made, packages=(*packages, Rpm("nvidia-modprobe")))


def _with_unit(package: Rpm) -> Rpm:
    if package.name not in UNITS:
        return package
    path = f"/usr/lib/systemd/system/{UNITS[package.name]}"
    scripts = {"post": WAITS} if package.name == STAYS else {}
    return replace(package, files={path: UNIT.format(name=package.name)}, scripts=scripts)
