"""The update guard and kernels: with real headers, real builds by DKMS, and a compiler's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeproof.facts.dkms import DkmsData, DkmsModules
from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from nodeproof.operations import update_guard
from nodeproof.updates.guard import Guard
from tests import cases, dkms_module
from tests.repositories.deb import Package
from tests.repositories.node import Site
from tests.repositories.scene import Vendor
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("update-guard-kernels")]

PREINSTALL = ("dkms", "linux-headers-cloud-amd64")
APT = "DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends"


@pytest.fixture(scope="module")
def node() -> Iterator[ContainerNode]:
    with containers(["d13-kernels"], "debian-13", preinstall=PREINSTALL) as (node,):
        yield node


@pytest.fixture(scope="module")
def vendor(node: ContainerNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "www").mkdir()
    key = make_key(folder, "good")
    vendor = Vendor(Server(folder / "www", GATEWAY), key, key, key)
    vendor.server.start()
    yield vendor
    vendor.server.stop()
    stop_agent(key)


@pytest.fixture(scope="module")
def site(node: ContainerNode, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(node, tmp_path_factory.mktemp("site"))


def guarded(guard: Guard) -> None:
    update_guard.guarded(name="Guard the modules", manager="apt", guard=guard)


def tried(site: Site, command: str) -> str:
    """Return all that a command said, and its exit code at the end."""
    return site.sh(f"{command} 2>&1; echo code $?", check=False)


@pytest.fixture(scope="module")
def sources(site: Site, vendor: Vendor) -> Iterator[str]:
    """Two modules, and packages in the place of a kernel's image; yields that kernel's version.

    Its headers are Debian's own, a flavour that is not installed; they may want the image of
    their version.
    """
    depends = site.sh("apt-get update -q >/dev/null; apt-cache depends linux-headers-amd64")
    kernel = re.findall(r"Depends: linux-headers-(\d\S+)", depends)[0]
    shown = site.sh(f"apt-cache show --no-all-versions linux-headers-{kernel}")
    version = re.findall(r"^Version: (\S+)$", shown, re.M)[0]
    vendor.folder.publish([Package(f"linux-image-{kernel}", version)])
    added = site.applied(vendor.added(supplies=("*",))).run
    for name, code in (("npgood", dkms_module.GOOD), ("npbad", dkms_module.BAD)):
        for path, text in dkms_module.files(name, code).items():
            site.sh(f"mkdir -p {Path(path).parent}; cat >{path} <<'END'\n{text}END\n")
    yield kernel
    site.sh("rm -rf /usr/src/np* /var/lib/dkms/np*")
    site.revert(added)


def test_dkms_says_why(site: Site, sources: str) -> None:
    """A real build that works and one that fails: the fact has the compiler's words."""
    kernel = site.sh("ls /lib/modules").split()[0]
    for name in ("npgood", "npbad"):
        site.sh(
            f"dkms add -m {name} -v 1.0; dkms install -m {name} -v 1.0 -k {kernel}", check=False
        )
    lines = site.sh(cases.fact_command(DkmsModules)).splitlines()
    found: DkmsData = DkmsModules().process(lines)
    assert {one.module: one.state for one in found.modules} == {
        "npgood": "installed",
        "npbad": "added",
    }
    missing = found.missing(kernel)
    assert missing.keys() == {"npbad"}
    assert re.search(rf"npbad\.c:\d+:\d+: {dkms_module.COMPLAINT}", missing["npbad"])


def test_no_kernel_without_what_is_built_for_it(site: Site, sources: str) -> None:
    """Without headers: refused. With them: tried first, and refused with the compiler's words."""
    image, headers = f"linux-image-{sources}", f"linux-headers-{sources}"
    guard = Guard("kernels", modules={"npgood": "1.0", "npbad": "1.0"})
    run = site.applied(lambda: guarded(guard)).run
    said = tried(site, f"{APT} install {image}")
    assert f"kernel {sources} would come without {headers} (kernels)" in said
    said = tried(site, f"{APT} install {image} {headers}")
    assert f"kernel {sources}: npbad 1.0 does not build for it (kernels): npbad.c:" in said
    assert dkms_module.COMPLAINT in said
    assert "npgood 1.0 does not" not in said
    assert site.installed(image, headers) == {}
    assert site.sh("ls -A /var/tmp | grep nodeproof; true") == ""
    # Where it stays known to DKMS, the headers' own trigger would fail.
    site.sh("dkms remove -m npbad -v 1.0 --all", check=False)
    # Of what DKMS has built, that is npgood alone.
    good = site.applied(lambda: guarded(Guard("kernels", built=True))).run
    said = tried(site, f"{APT} install {image}")
    assert f"kernel {sources} would come without {headers} (kernels)" in said
    said = tried(site, f"{APT} install {image} {headers}")
    assert "trying whether npgood 1.0 builds" in said
    assert "code 0" in said, said
    site.sh(f"{APT} purge {image} {headers}")
    site.revert(good)
    site.revert(run)
