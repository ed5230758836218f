"""The intel layer: what may be asked, what is chosen, where it comes from, what checks find."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any, cast

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError
from pyinfra.context import ctx_host
from testinfra.host import Host

from nodeproof.catalog.distributions import distributions
from nodeproof.catalog.model.stack import IntelRelease
from nodeproof.catalog.resolve.asked import joined
from nodeproof.catalog.resolve.choice import Place, Refusal, StackChoice
from nodeproof.catalog.whole import shipped
from nodeproof.facts.accelerators import Accelerators, DkmsModule, Gpu
from nodeproof.facts.modules import LiveModule
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.layers.gpu.settings import Settings as GpuSettings
from nodeproof.layers.intel import checks, choice, deploy
from nodeproof.layers.intel.facts import STATUS, Said, said
from nodeproof.layers.intel.settings import Extra, Settings
from nodeproof.layers.intel.stack import packages, repository

TODAY = date(2026, 11, 29)
KERNEL = "6.8.0-90-generic"
UBUNTU = NodeFacts(os_id="ubuntu", os_version="24.04", kernel=KERNEL)
ROWS = distributions()
MAX = Gpu(
    pci_address="0000:4d:00.0",
    vendor_id="8086",
    device_id="0bd5",
    class_code="038000",
    driver_in_use="i915",
)
GAUDI3 = Gpu(
    pci_address="0000:19:00.0",
    vendor_id="1da3",
    device_id="1060",
    class_code="120000",
    driver_in_use="habanalabs",
)
GPUS = Accelerators(gpus=[MAX], kernel=KERNEL, arch="x86_64", secure_boot=False)
GAUDI = GPUS.model_copy(update={"gpus": [GAUDI3]})
CONTAINER = GPUS.model_copy(
    update={"gpus": [], "platform": "container", "kernel": "6.12.1-host", "secure_boot": None}
)
IMAGE = {"gpus": ["1da3:1060"], "kernel": KERNEL}
KEY, OLD = "0123456789ABCDEF0123456789ABCDEF01234567", "4E9EFCDEF82800256C1E7C64B02DB9BD8C321DCB"
INTELS = "E0258B57D9C442D5DB1855C271740E4DE392BFE3"
OWN = {"repository_key": KEY}


def settings(**asked: Any) -> Settings:
    return Settings.model_validate(asked)


def answered(has: Accelerators = GPUS, **asked: Any) -> StackChoice | Refusal:
    return choice.answered(settings(**asked), UBUNTU, has, shipped(), TODAY)


def chosen(has: Accelerators = GPUS, **asked: Any) -> StackChoice:
    answer = answered(has, **asked)
    assert not isinstance(answer, Refusal), choice.refusal(answer)
    return answer


def refused(has: Accelerators = GPUS, **asked: Any) -> str:
    answer = answered(has, **asked)
    assert isinstance(answer, Refusal)
    text = choice.refusal(answer)
    assert "\n" not in text
    return text


# What may be asked


@pytest.mark.parametrize(
    "asked",
    [
        {"release": "2523; id"},
        {"release": "none"},
        {"driver": "i915"},
        {"extras": ["xpu-smi"]},
        {"image": {"gpus": ["10de:2330"]}},
        {"image": {"gpus": []}},
        {"repository_uri": "https://mirror.example/intel"},
        {"repository_uri": "https://mirror.example/a/../b/"},
        {"repository_key": "E0258B57"},
        {"repository_key_uri": "https://mirror.example/key"},
        {"users": ["root;id"]},
        # What the resolver knows, and this layer does not make so.
        {"intel": "2523"},
    ],
)
def test_settings_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(asked)


def test_layers_ask_together() -> None:
    asked = joined([GpuSettings(), settings(release="1.24.1", **OWN, allow_kernel=True)])
    assert (asked.intel, asked.driver, asked.allow_kernel) == ("1.24.1", "lts", True)
    assert asked.repository_key == KEY


def test_extras_are_those_that_releases_have() -> None:
    known = {extra for one in shipped().intel_releases.values() for extra in one.extras}
    assert known == {*Extra.__args__}  # type: ignore[attr-defined]


# What is chosen


def test_gpus_and_gaudi_have_releases_of_their_own() -> None:
    assert chosen().version == "2523"
    assert chosen(GAUDI, **OWN).version == "1.24.1"
    assert chosen(CONTAINER, **OWN, image=IMAGE).version == "1.24.1"


def test_nvidias_and_amds_part_is_no_matter_of_this_layer() -> None:
    both = GPUS.model_copy(update={"gpus": [MAX, MAX.model_copy(update={"vendor_id": "10de"})]})
    assert chosen(both).version == "2523"


@pytest.mark.parametrize(
    ("has", "asked", "why"),
    [
        (CONTAINER, {}, "or set intel.image"),
        (CONTAINER, {"image": {"gpus": ["8086:0bd5"]}}, "set image.kernel"),
        (GPUS.model_copy(update={"gpus": []}), {}, "[hardware.driver-has-a-gpu]"),
        (GAUDI, {}, "set repository_key"),
        (GAUDI, {"release": "1.25.0", **OWN}, "no release of Intel's 1.25.0 is in the catalog"),
        (GPUS, {"release": "1.24.1"}, "release = '2523' gives Intel's 2523"),
        (GPUS.model_copy(update={"kernel": "6.17.0"}), {}, "[intel.kernel-is-supported]"),
        (GPUS.model_copy(update={"secure_boot": True}), {}, "Secure Boot is on"),
        (GPUS.model_copy(update={"secure_boot": None}), {}, "Secure Boot could not be read"),
        (GPUS, {"extras": ["containers"]}, "extras may be tools, media, development"),
        (GAUDI, {"extras": ["media", "tools"], **OWN}, "has no media [intel.extras"),
        (GAUDI, {"users": ["ada"], **OWN}, "leave users out"),
    ],
)
def test_refusals_are_one_line(has: Accelerators, asked: dict[str, Any], why: str) -> None:
    assert why in refused(has, **asked)


def test_secure_boot_is_no_matter_of_the_kernels_own_driver() -> None:
    has = GPUS.model_copy(update={"secure_boot": True})
    assert chosen(has, driver="kernel")
    assert chosen(has, secure_boot="mok")


def test_what_is_there_is_looked_at_although_it_should_not_be() -> None:
    has = GPUS.model_copy(update={"kernel": "6.17.0", "secure_boot": True})
    assert isinstance(answered(has), Refusal)
    found = choice.answered(settings(), UBUNTU, has, shipped(), TODAY, whatever=True)
    assert not isinstance(found, Refusal)


# Packages and repositories


def release(version: str) -> IntelRelease:
    return shipped().intel_releases[version]


def test_packages_of_a_release() -> None:
    found = packages(settings(), release("2523"))
    assert found[:2] == ("intel-i915-dkms", "intel-fw-gpu")
    assert found[-1] == "xpu-smi"
    bare = packages(settings(driver="kernel", extras=[]), release("2523"))
    assert bare == ("intel-opencl-icd", "libze-intel-gpu1", "libze1")
    gaudi = packages(settings(extras=["tools", "containers"]), release("1.24.1"))
    assert gaudi[-2:] == ("habanalabs-firmware-tools", "habanalabs-container-runtime")


def test_intels_repository_has_the_keys_that_are_pinned() -> None:
    found = repository(settings(), chosen(), shipped())
    assert found
    assert found.uris == ("https://repositories.intel.com/gpu/ubuntu",)
    assert (found.suites, found.components) == (("noble/lts/2523",), ("unified",))
    assert found.key.fingerprints == (INTELS, OLD)
    assert "Package: intel-* libze*" in found.preferences_text()


def test_a_mirror_is_signed_by_intels_keys_or_its_own() -> None:
    uri = {"repository_uri": "https://mirror.example/intel/"}
    plain = repository(settings(**uri), chosen(**uri), shipped())
    own = repository(settings(**uri, **OWN), chosen(**uri, **OWN), shipped())
    # A fingerprint alone does not take the place of what the catalog pins.
    alone = repository(settings(**OWN), chosen(**OWN), shipped())
    assert plain and own and alone  # noqa: PT018
    prints = [one.key.fingerprints for one in (plain, own, alone)]
    assert prints == [(INTELS, OLD), (KEY,), (INTELS, OLD)]


def test_gaudis_repository_has_your_key_from_its_makers_address() -> None:
    found = repository(settings(**OWN), chosen(GAUDI, **OWN), shipped())
    assert found
    assert (found.name, found.suites, found.components) == ("gaudi", ("noble",), ("main",))
    assert found.key.fingerprints == (KEY,)
    assert found.key.url == "https://vault.habana.ai/artifactory/api/gpg/key/public"


# Refusals of the deploy


class Node:
    """A node with packages."""

    name = "node1"

    def get_fact(self, fact: type, **arguments: Any) -> PackagesData:
        return PackagesData()


def test_refusal_of_the_resolver_is_one_of_the_plan() -> None:
    row = ROWS["ubuntu-24.04"]
    with ctx_host.use(Node()), pytest.raises(DeployError, match=r"^node1: intel: the key of gaudi"):
        deploy._chosen(settings(), UBUNTU, GAUDI, row, shipped())
    with ctx_host.use(Node()), pytest.raises(DeployError, match="has no apt"):
        deploy._chosen(settings(), UBUNTU, GPUS, ROWS["el-9"], shipped())


def test_a_repository_without_a_key_is_none() -> None:
    place = Place(repository="gaudi-noble")
    one = StackChoice(version="1.24.1", packages=(), place=place)
    with ctx_host.use(Node()), pytest.raises(DeployError, match="set repository_key"):
        deploy._repository(settings(), one, shipped())


# What is read of Gaudi


def test_hl_smi_is_read() -> None:
    lines = ["0000:19:00.0, 1.24.1-b336d5e", "", "0000:b3:00.0,1.24.1-b336d5e"]
    assert said(lines) == (
        Said("0000:19:00.0", "1.24.1-b336d5e"),
        Said("0000:b3:00.0", "1.24.1-b336d5e"),
    )
    for strange in ("0000:19:00.0", "0000:19:00.0,", "a, b, c"):
        with pytest.raises(ValueError, match="no address and version"):
            said([strange])


def test_states_are_asked_on_this_machine() -> None:
    done = subprocess.run(["sh", "-c", STATUS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Checks that need an accelerator

RIGHT = LiveModule(
    loaded=True,
    srcversion="A1",
    file=f"/lib/modules/{KERNEL}/updates/dkms/i915.ko",
    file_srcversion="A1",
)
LTS, NEW = release("2523"), release("1.24.1")
AT, GAUDI_AT = {MAX.pci_address: "i915"}, {GAUDI3.pci_address: "habanalabs"}
BUILT = GPUS.model_copy(
    update={
        "dkms": [DkmsModule(name="intel-i915-dkms", version="1", kernel=KERNEL, state="installed")]
    }
)
ASKED, KERNELS = settings(), settings(driver="kernel")
DRIVER = checks.test_driver_that_runs_is_the_one_on_the_disk
DRIVES = checks.test_driver_drives_every_accelerator
COMPILED = checks.test_driver_is_built_for_the_kernel
GROUP = checks.test_gpus_are_for_their_group
BOOTED = checks.test_kernel_was_booted_with_what_the_driver_needs
STATES = checks.test_accelerators_are_operational
VERSIONS = checks.test_accelerators_say_the_releases_driver
ONE = StackChoice(version="1.24.1", packages=())


def devices(has: Accelerators, one: IntelRelease) -> dict[str, str]:
    found: dict[str, str] = checks.devices.__wrapped__(has, ASKED, one)  # type: ignore[attr-defined]
    return found


class Told:
    """A host that says one thing."""

    def __init__(self, stdout: str, stderr: str = "") -> None:
        self.stdout, self.stderr = stdout, stderr

    def check_output(self, command: str, *arguments: str) -> str:
        return self.stdout

    def run(self, command: str, *arguments: str) -> Told:
        return self


def told(stdout: str, stderr: str = "") -> Host:
    return cast("Host", Told(stdout, stderr))


def test_checks_pass_on_what_is_right() -> None:
    DRIVER(ASKED, RIGHT, LTS)
    DRIVER(KERNELS, replace(RIGHT, file=f"/lib/modules/{KERNEL}/kernel/i915.ko"), LTS)
    DRIVES(AT, LTS)
    COMPILED(ASKED, UBUNTU, BUILT, LTS)
    checks.test_driver_is_not_kept_away(RIGHT, LTS)
    GROUP(told("660 root render\n"), AT, LTS)
    BOOTED(told("root=/dev/sda1 intel_iommu=on iommu=pt\n"), ASKED, GAUDI, NEW)
    STATES(told("Operational\n"), GAUDI_AT)
    VERSIONS(told("0000:19:00.0, 1.24.1-b336d5e\n"), ASKED, GAUDI_AT, ONE)
    assert devices(GPUS, LTS) == AT
    assert devices(GAUDI, NEW) == GAUDI_AT


SKIPPED: Mapping[str, Callable[[], object]] = {
    "kernel that needs nothing": lambda: BOOTED(told(""), ASKED, GPUS, LTS),
    "no tools": lambda: VERSIONS(told(""), settings(extras=[]), GAUDI_AT, ONE),
    "no group": lambda: GROUP(told(""), GAUDI_AT, NEW),
    "GPUs": lambda: checks.gaudi.__wrapped__(AT, LTS),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("case", SKIPPED)
def test_checks_skip_what_does_not_apply(case: str) -> None:
    with pytest.raises(pytest.skip.Exception):
        SKIPPED[case]()


FAILS: dict[str, tuple[Callable[[], object], str]] = {
    "no driver": (lambda: DRIVER(ASKED, LiveModule(), LTS), "i915 is not loaded"),
    "old module goes on": (
        lambda: DRIVER(ASKED, replace(RIGHT, file_srcversion="B2"), LTS),
        "another i915 module is loaded than the one on the disk",
    ),
    "the kernel's own": (
        lambda: DRIVER(ASKED, replace(RIGHT, file="/x/i915.ko"), LTS),
        "the kernel's own driver is loaded",
    ),
    "Intel's": (lambda: DRIVER(KERNELS, RIGHT, LTS), "Intel's driver is loaded"),
    "drives nothing": (lambda: DRIVES({MAX.pci_address: ""}, LTS), "is driven by nothing"),
    "another drives it": (lambda: DRIVES({MAX.pci_address: "xe"}, LTS), "is driven by xe"),
    "no device": (lambda: devices(GAUDI, LTS), "no accelerator for Intel GPU LTS 2523"),
    "not built": (lambda: COMPILED(ASKED, UBUNTU, GPUS, LTS), "unknown to DKMS"),
    "kept away": (
        lambda: checks.test_driver_is_not_kept_away(replace(RIGHT, blacklisted=True), LTS),
        "blacklist i915",
    ),
    "beside the kernel's own": (
        lambda: checks.test_driver_is_the_kernels_own(
            KERNELS, PackagesData(installed={"intel-i915-dkms": "1"}), LTS
        ),
        "installed beside it: intel-i915-dkms",
    ),
    "open to all": (lambda: GROUP(told("666 root render"), AT, LTS), "666 root render"),
    "no render node": (lambda: GROUP(told("", "No such file"), AT, LTS), "No such file"),
    "no passthrough": (lambda: BOOTED(told("ro quiet"), ASKED, GAUDI, NEW), "without iommu=pt"),
    "disabled": (lambda: STATES(told("disabled\n"), GAUDI_AT), "in state disabled"),
    "says nothing": (lambda: STATES(told(""), GAUDI_AT), "1 on the PCI bus, 0 say"),
    "old driver runs": (
        lambda: VERSIONS(told("0000:19:00.0, 1.23.0-2eae87a\n"), ASKED, GAUDI_AT, ONE),
        "another driver than 1.24.1 runs",
    ),
    "one too few": (lambda: VERSIONS(told(""), ASKED, GAUDI_AT, ONE), "lists others"),
}


@pytest.mark.parametrize("case", FAILS)
def test_checks_fail_on_what_is_not(case: str) -> None:
    check, why = FAILS[case]
    with pytest.raises(AssertionError, match=why):
        check()
