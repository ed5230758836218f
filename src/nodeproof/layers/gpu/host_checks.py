"""Hosts whose driver is somebody else's; `jetson_checks` and `tpu_checks` say more of two."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.catalog.model.hardware import Platform
from nodeproof.catalog.overlay import current
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.layers.gpu.settings import Settings

WSL = "/usr/lib/wsl/"
WSL_SMI = f"{WSL}lib/nvidia-smi"
PACKAGE = "${db:Status-Status} ${Package}\\n"


@pytest.fixture(scope="module")
def accelerators(host: Host) -> Accelerators:
    """Return what the node has."""
    done = host.run("sh -c %s", Gpus().command())
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    return Gpus().process(done.stdout.splitlines())


@pytest.fixture(scope="module")
def platform(settings: Settings, accelerators: Accelerators) -> Platform:
    """Return what the catalog says of such a host."""
    found = current().platforms.get(accelerators.platform)
    if found is None or settings.image is not None:
        pytest.skip("its driver is its own, or it becomes an image of a machine whose is")
    return found


@pytest.mark.control("NP-GPU-11")
def test_no_driver_beside_the_hosts(host: Host, platform: Platform) -> None:
    """A second libcuda, or a module for a kernel that is not this host's, takes the GPUs away."""
    if not platform.never:
        pytest.skip(f"no package is known to be wrong on {platform.title}")
    rows = [
        line.split()
        for one in platform.never
        for line in host.run(f"dpkg-query -W -f '{PACKAGE}' -- %s", one).stdout.splitlines()
    ]
    there = sorted({name for status, name in rows if status == "installed"})
    assert not there, f"must not be on {platform.title}: {', '.join(there)}; {platform.instead}"


@pytest.mark.control("NP-GPU-11")
def test_driver_of_windows_answers(host: Host, accelerators: Accelerators) -> None:
    """On WSL 2 the GPUs are those of the driver on Windows, and seen only through it."""
    if accelerators.platform != "wsl2":
        pytest.skip("this is not WSL 2")
    done = host.run("timeout -k 5 60 %s -L", WSL_SMI)
    assert done.rc == 0, f"{WSL_SMI}: {(done.stdout + done.stderr).strip()[:200]}"
    assert "GPU 0:" in done.stdout, f"{WSL_SMI} names no GPU"


@pytest.mark.control("NP-GPU-11")
def test_driver_of_windows_is_found(host: Host, accelerators: Accelerators) -> None:
    """Programs take the first libcuda that the loader knows, and another one finds no GPU."""
    if accelerators.platform != "wsl2":
        pytest.skip("this is not WSL 2")
    known = [line.split(" => ") for line in host.check_output("/sbin/ldconfig -p").splitlines()]
    found = [one[1] for one in known if len(one) == 2 and one[0].split()[0] == "libcuda.so.1"]
    assert found, f"the loader knows no libcuda.so.1; {WSL}lib is to be in /etc/ld.so.conf.d"
    assert found[0].startswith(WSL), f"programs take {found[0]}"
    smi = host.run('readlink -f -- "$(command -v nvidia-smi)"').stdout.strip()
    assert not smi or smi.startswith(WSL), f"nvidia-smi is {smi}"
