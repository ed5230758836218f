"""NVIDIA's open kernel module as Debian packages it, really built: a good pair and two bad ones.

It downloads some 300 MB and compiles for minutes, hence its own marker. No GPU is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from nodeproof.engine.bootable import examine
from nodeproof.facts.boot import BootData, Kernel
from nodeproof.facts.bootable import Bootable, BootableData
from nodeproof.facts.dkms import DkmsData, DkmsModules
from nodeproof.lab import ContainerNode, containers
from nodeproof.operations import update_guard
from nodeproof.updates.guard import Guard
from tests import cases
from tests.repositories.node import Site

pytestmark = pytest.mark.dkms

APT = "DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends"
MODULE = "nvidia-current-open"
ERROR = "error: too few arguments to function"
NON_FREE = (
    "sed -i 's/^Components: .*/Components: main contrib non-free non-free-firmware/' "
    "$(grep -l '^Components:' -r /etc/apt/sources.list.d) && apt-get -q update"
)
TAKEN = "6.1.0-50-cloud-amd64"
"""The last kernel of Debian 12 that 535.261.03 was seen to build for; 6.1.0-56 is not."""


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Iterator[ContainerNode]:
    name = request.param.replace("debian-", "d")
    with containers([f"{name}-driver"], request.param, preinstall=("dkms",)) as (node,):
        yield node


@pytest.fixture
def site(node: ContainerNode, tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(node, tmp_path_factory.mktemp("site"))
    site.sh(NON_FREE)
    return site


def dkms(site: Site) -> DkmsData:
    return DkmsModules().process(site.sh(cases.fact_command(DkmsModules)).splitlines())


def newest(site: Site) -> str:
    """Return the version of the newest cloud kernel in the archive."""
    said = site.sh("apt-cache depends linux-headers-cloud-amd64")
    return re.findall(r"Depends: linux-headers-(\d\S+)", said)[0]


def why_no_reboot(site: Site, kernel: str) -> list[str]:
    """Return what the engine says of DKMS before a reboot into a kernel that is here."""
    said = site.sh(cases.fact_command(Bootable, kernel)).splitlines()
    found: BootableData = Bootable().process(said)
    boot = BootData(kernels=(Kernel(kernel, image=True, initrd=True, modules=True),))
    return [one for one in examine(boot, {kernel: found}) if "DKMS" in one]


def refused(site: Site, version: str, kernel: str, *packages: str) -> str:
    """Guard the module, ask apt for a kernel, and return what it said; nothing may be installed."""
    guard = Guard("gpu", modules={MODULE: version})
    site.apply(lambda: update_guard.guarded(name="Guard the driver", manager="apt", guard=guard))
    image = f"linux-image-{kernel}"
    said = site.sh(f"{APT} install {image} {' '.join(packages)} 2>&1; echo code $?", check=False)
    assert "code 100" in said, said
    assert site.installed(image) == {}
    return said


@pytest.mark.parametrize("node", ["debian-12"], indirect=True)
def test_a_kernel_that_it_builds_for_and_the_next_one_that_it_does_not(site: Site) -> None:
    """What a stable update of Debian 12 pulled apart."""
    driver = (
        "nvidia-open-kernel-dkms firmware-nvidia-gsp=535.261.03-1 nvidia-alternative=535.261.03-1"
    )
    site.sh(f"{APT} install linux-headers-{TAKEN} && {APT} install {driver}")
    found = dkms(site)
    assert found.missing(TAKEN) == {}
    assert why_no_reboot(site, TAKEN) == []
    (version,) = {one.version for one in found.modules if one.module == MODULE}
    kernel = newest(site)
    said = refused(site, version, kernel, f"linux-headers-{kernel}")
    assert f"kernel {kernel}: {MODULE} {version} does not build for it (gpu): nv-pci.c:" in said
    assert ERROR in said
    said = site.sh(f"{APT} install linux-image-{TAKEN} 2>&1")
    assert "nodeproof" not in said
    assert dkms(site).missing(TAKEN) == {}


@pytest.mark.parametrize("node", ["debian-13"], indirect=True)
def test_a_driver_that_does_not_build_for_its_own_release(site: Site) -> None:
    """Debian 13's 550.163.01 and 6.12.117."""
    kernel = newest(site)
    said = site.sh(
        f"{APT} install linux-headers-{kernel} && {APT} install nvidia-open-kernel-dkms 2>&1",
        check=False,
    )
    assert "Bad return status for module build" in said
    found = dkms(site)
    why = found.missing(kernel)[MODULE]
    assert why.startswith("its build failed: nv-pci.c:")
    assert ERROR in why
    (problem,) = why_no_reboot(site, kernel)
    assert f"the DKMS module {MODULE} is not built for it: {why}" in problem
    (version,) = {one.version for one in found.modules if one.module == MODULE}
    said = refused(site, version, kernel)
    assert f"kernel {kernel}: {MODULE} {version} does not build for it (gpu): nv-pci.c:" in said
    assert ERROR in said
