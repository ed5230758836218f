"""TPUs, and libtpu in the environment that uses them; the VM's image brings their driver."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from packaging.requirements import Requirement
from testinfra.host import Host

from nodeproof.catalog.resolve.rules.hardware import TPU
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.layers.gpu.settings import Settings, Tpu

BY_VFIO = frozenset({"0062", "0063", "006f", "0076"})
"""TPU v5p, v5e, v6e and v7, which are opened through VFIO, the others by a driver of their own.
Source: tpu_info/device.py of AI-Hypercomputer/cloud-accelerator-diagnostics."""
DEVICES = "find /dev /dev/vfio -maxdepth 1 -type c"
LIBRARY = "find %s/lib -path '*/site-packages/libtpu/libtpu.so' -size +0"
VERSIONS = "find %s/lib -path '*/site-packages/libtpu-*.dist-info' -prune -printf '%%f\\n'"

RECORDED = (
    "grep -h '^libtpu/libtpu\\.so,sha256=' %s/lib/python*/site-packages/libtpu-*.dist-info/RECORD"
)
NEEDED = (
    "grep -Hs '^Requires-Dist: *libtpu *[<=>!~(;]' "
    "%s/lib/python*/site-packages/*.dist-info/METADATA"
)
MAY_WRITE = (
    'said=$(find "$1/" -xdev ! -type l \\( ! -user root -o -perm /022 \\) '
    '-printf "%u %g %m\\n") || exit; printf "%s\\n" "$said" | sort -u'
)
"""Prints owner, group and mode of what not only root may write, each once."""


@pytest.fixture(scope="module")
def tpu(settings: Settings) -> Tpu:
    """Return what is asked of a TPU VM."""
    if settings.tpu is None:
        pytest.skip("nothing is asked of a TPU VM")
    return settings.tpu


@pytest.fixture(scope="module")
def chips(host: Host, tpu: Tpu) -> list[str]:
    """Return the device ids of the TPUs on the PCI bus."""
    done = host.run("sh -c %s", Gpus().command())
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    has: Accelerators = Gpus().process(done.stdout.splitlines())
    found = [gpu.device_id for gpu in has.gpus if gpu.vendor_id == TPU]
    assert found, "there is no TPU on the PCI bus"
    return found


@pytest.fixture(scope="module")
def devices(host: Host, chips: list[str]) -> list[str]:
    """Return the files by which TPUs are opened."""
    begin = "/dev/vfio/" if chips[0] in BY_VFIO else "/dev/accel"
    there = host.run(DEVICES).stdout.split()
    return sorted(one for one in there if one.removeprefix(begin).isdigit())


@pytest.mark.control("NP-GPU-13")
def test_each_tpu_can_be_opened(chips: list[str], devices: list[str]) -> None:
    """Without its device a TPU is on the bus and of no use; libtpu then waits, or falls back."""
    assert len(devices) >= len(chips), (
        f"there are {len(chips)} TPUs, and devices for {len(devices)}: {' '.join(devices)}"
    )


@pytest.mark.control("NP-GPU-13")
def test_users_may_open_tpus(host: Host, tpu: Tpu, devices: list[str]) -> None:
    """A job that may not open a TPU computes on the processor without saying so."""
    if not tpu.users:
        pytest.skip("gpu.tpu.users names nobody")
    assert devices, "there is no device of a TPU"
    wrong = []
    for user in tpu.users:
        assert host.run("id -u -- %s", user).succeeded, f"there is no user {user}"
        for device in devices:
            tests = "test -r %s && runuser -u %s -- test -w %s"
            if host.run(f"runuser -u %s -- {tests}", user, device, user, device).failed:
                wrong.append(f"{user} {device}")
    assert not wrong, f"may not be opened: {', '.join(wrong)}"


@pytest.mark.control("NP-GPU-13")
def test_libtpu_is_the_one_asked_for(host: Host, tpu: Tpu) -> None:
    """JAX and PyTorch load the libtpu of their own environment; nothing of it is run here."""
    if not tpu.libtpu:
        pytest.skip("gpu.tpu.libtpu names no environment")
    wrong = []
    for environment, version in tpu.libtpu.items():
        found = [one[7:].removesuffix(".dist-info") for one in _names(host, environment)]
        if not host.run(LIBRARY, environment).stdout.strip():
            wrong.append(f"there is no libtpu.so in {environment}")
        elif found != [version]:
            wrong.append(f"libtpu in {environment} is {' and '.join(found)}, not {version}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-GPU-13")
def test_libtpu_is_the_one_that_was_installed(host: Host, tpu: Tpu) -> None:
    """A library that was copied over another one is still listed with the version of that one."""
    if not tpu.libtpu:
        pytest.skip("gpu.tpu.libtpu names no environment")
    wrong = []
    for environment in tpu.libtpu:
        recorded = host.run(RECORDED, environment).stdout.split()
        sums = {_as_recorded(one) for one in _sums(host, environment)}
        if not recorded:
            wrong.append(f"pip did not record the libtpu.so of {environment}")
        elif sums != {one.split(",")[1] for one in recorded}:
            wrong.append(f"libtpu.so in {environment} is not the one that pip installed")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-GPU-13")
def test_libtpu_is_one_that_its_users_need(host: Host, tpu: Tpu) -> None:
    """JAX and PyTorch/XLA each say which libtpu they were built with; others break at start."""
    wrong, said = [], False
    for environment, version in tpu.libtpu.items():
        for line in host.run(NEEDED, environment).stdout.splitlines():
            path, _, text = line.partition(":Requires-Dist:")
            said = True
            if not Requirement(text).specifier.contains(version, prereleases=True):
                who = path.rsplit("/", 2)[1].removesuffix(".dist-info")
                wrong.append(f"{who} in {environment} needs{text.partition(';')[0]}, not {version}")
    assert not wrong, "; ".join(wrong)
    if not said:
        pytest.skip("no package in an environment that is named says which libtpu it needs")


@pytest.mark.control("NP-GPU-13")
def test_only_root_and_users_write_environments(host: Host, tpu: Tpu) -> None:
    """Whoever may write a library runs as each user whose job loads it."""
    if not tpu.libtpu:
        pytest.skip("gpu.tpu.libtpu names no environment")
    known, wrong = {"root", *tpu.users}, []
    for environment in tpu.libtpu:
        done = host.run("sh -c %s sh %s", MAY_WRITE, environment)
        assert done.rc == 0, f"could not look: {done.stderr.strip()}"
        for owner, group, mode in map(str.split, filter(None, done.stdout.splitlines())):
            others, shared = int(mode, 8) & 0o002, int(mode, 8) & 0o020
            if others or owner not in known or (shared and group not in known):
                wrong.append(f"{environment} has files of {owner}:{group} with mode {mode}")
    assert not wrong, "; ".join(wrong)


def _sums(host: Host, environment: str) -> list[str]:
    files = host.run(LIBRARY, environment).stdout.split()
    return [host.check_output("sha256sum -- %s", one).split()[0] for one in files]


def _as_recorded(hexadecimal: str) -> str:
    """Return a sum as RECORD has it; see packaging.python.org, "Recording installed projects"."""
    return "sha256=" + urlsafe_b64encode(bytes.fromhex(hexadecimal)).decode().rstrip("=")


def _names(host: Host, environment: str) -> list[str]:
    return sorted({*host.run(VERSIONS, environment).stdout.split()})
