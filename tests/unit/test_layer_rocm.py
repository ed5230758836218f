"""The rocm layer: what may be asked, what is chosen, where it comes from, and what is refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError
from pyinfra.context import ctx_host

from nodeproof.catalog.distributions import distributions
from nodeproof.catalog.resolve.asked import joined
from nodeproof.catalog.resolve.choice import Refusal, StackChoice
from nodeproof.catalog.resolve.release import machine_for
from nodeproof.catalog.whole import Catalog, bundle, folder, merged, shipped
from nodeproof.facts.accelerators import Accelerators, Gpu
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.layers.gpu.settings import Settings as GpuSettings
from nodeproof.layers.rocm import choice, deploy
from nodeproof.layers.rocm.settings import Settings
from nodeproof.layers.rocm.stack import (
    FIRMWARE,
    Release,
    driver_of,
    driver_repository,
    needs_driver_repository,
    release,
)

TODAY = date(2026, 11, 29)
DEBIAN_12 = NodeFacts(os_id="debian", os_version="12", kernel="6.1.0-50-amd64")
ROW = distributions()["debian-12"]
MI300X = Gpu(pci_address="0000:05:00.0", vendor_id="1002", device_id="74a1", class_code="120000")
BARE = Accelerators(
    gpus=[MI300X], kernel="6.1.0-50-amd64", kernel_headers=True, arch="x86_64", secure_boot=False
)
CONTAINER = BARE.model_copy(
    update={"gpus": [], "platform": "container", "kernel": "6.12.1-host", "secure_boot": None}
)
IMAGE = {"gpus": ["1002:74a1"], "kernel": "6.1.0-50-amd64"}
KEY, AMDS = "0123456789ABCDEF0123456789ABCDEF01234567", "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"
OWN = {"key": KEY, "key_uri": "https://repo.amd.com/rocm/packages-multi-arch/gpg/rocm.gpg"}
NEW = {"releases": ["7.14"], "sources": {"7.14": OWN}}
MATRIX = """
["rocm_releases"."10.0"]
layout = "core"
driver = "31.50"
packages = ["amdrocm10.0"]
sources = ["rocm-install"]
systems = { debian-12 = { kernels = ["6.1"] } }
repositories = { debian-12 = "rocm-10_0-debian12" }
"""


def settings(**asked: Any) -> Settings:
    return Settings.model_validate(asked)


def answered(
    has: Accelerators = BARE,
    catalog: Catalog | None = None,
    *,
    whatever: bool = False,
    **asked: Any,
) -> tuple[StackChoice, ...] | Refusal:
    return choice.answered(
        settings(**asked), DEBIAN_12, has, catalog or shipped(), TODAY, whatever=whatever
    )


def chosen(has: Accelerators = BARE, **asked: Any) -> tuple[StackChoice, ...]:
    answer = answered(has, **asked)
    assert not isinstance(answer, Refusal), choice.refusal(answer)
    return answer


def refused(has: Accelerators = BARE, **asked: Any) -> str:
    answer = answered(has, **asked)
    assert isinstance(answer, Refusal)
    text = choice.refusal(answer)
    assert "\n" not in text
    return text


# What may be asked


@pytest.mark.parametrize(
    "asked",
    [
        {"releases": []},
        {"releases": ["7.14; id"]},
        {"releases": ["7.14", "7.14"]},
        {"driver": "31.40.1"},
        {"image": {"gpus": ["10de:2330"]}},
        {"sources": {"7": {}}},
        {"sources": {"driver": {"uri": "https://mirror.example/"}}},
        {"sources": {"driver": {"uri": "https://mirror.example/a/../b"}}},
        {"sources": {"driver": {"uri": "https://user:word@mirror.example/x"}}},
        {"sources": {"driver": {"key_uri": "https://mirror.example/key"}}},
        {"module_options": {"noretry": "1"}, "xnack": True},
        {"module_options": {"vm_size": "1 vm_x=2"}},
        {"module_options": {"VM": "1"}},
        {"compute_partition": "CPX"},
        {"memory_partition": "nps3"},
        {"users": ["root;id"]},
        # What the resolver knows, and this layer does not make so.
        {"container_toolkit": "latest"},
        {"rocm": "7.14"},
    ],
)
def test_settings_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(asked)


def test_xnack_is_the_modules_noretry_the_other_way_round() -> None:
    assert settings().options == {}
    assert settings(xnack=True).options == {"noretry": "0"}
    assert settings(xnack=False, module_options={"vm_size": "10"}).options == {
        "noretry": "1",
        "vm_size": "10",
    }


def test_partitions_in_the_drivers_words() -> None:
    assert settings().partitions == {}
    asked = settings(compute_partition="cpx", memory_partition="nps4")
    assert asked.partitions == {"compute": "CPX", "memory": "NPS4"}


def test_layers_ask_together() -> None:
    """What one layer accepts does not take away what another does."""
    gpu = GpuSettings(allow_insecure=["nvidia-5861"], allow_kernel=True)
    rocm = settings(**NEW, allow_insecure=["nvidia-5861", "amd-2025-66664"])
    asked = joined([gpu, rocm])
    assert asked.allow_insecure == ["nvidia-5861", "amd-2025-66664"]
    assert (asked.rocm, asked.driver, asked.allow_kernel) == ("7.14", "lts", True)
    assert asked.repository_key == KEY


# What is chosen


def test_a_release_whose_key_is_known() -> None:
    (one,) = chosen(releases=["latest"])
    assert one.version == "6.4"
    assert one.driver_place
    assert one.driver_place.fingerprint == AMDS


def test_a_release_with_your_key() -> None:
    (one,) = chosen(**NEW)
    assert (one.version, one.driver) == ("7.14", "31.40.1")


def test_latest_has_the_key_of_the_only_source() -> None:
    assert settings(**{**NEW, "releases": ["latest"]}).key("latest") == KEY
    two = {"7.14": OWN, "10.0": {"key": "A" * 40}}
    assert settings(sources=two).key("latest") is None
    assert settings(sources=two).key("10.0") == "A" * 40
    assert settings(sources={"driver": OWN}).key("latest") is None


def test_image_is_for_machines_that_are_not_here() -> None:
    (one,) = chosen(CONTAINER, **NEW, image=IMAGE)
    assert one.version == "7.14"
    assert "set image.kernel" in refused(CONTAINER, **NEW, image={"gpus": ["1002:74a1"]})
    own = machine_for(settings(image={"gpus": ["1002:740c"]}).image, DEBIAN_12, BARE).accelerators
    assert (own.kernel, [gpu.device_id for gpu in own.gpus]) == (BARE.kernel, ["740c"])


def test_releases_side_by_side() -> None:
    catalog = merged(folder(), bundle(MATRIX, "the test"))
    both = {
        "releases": ["10.0", "7.14"],
        "sources": {"7.14": OWN, "10.0": {**OWN, "key": "B" * 40}},
    }
    answer = answered(catalog=catalog, driver="kernel", **both)
    assert not isinstance(answer, Refusal)
    found = [release(settings(**both), one, catalog) for one in answer]
    assert [one.prefix for one in found] == ["/opt/rocm/core-10.0", "/opt/rocm/core-7.14"]
    prints = [one.repository.key.fingerprints for one in found if one.repository]
    assert prints == [("B" * 40,), (KEY,)]
    missing = answered(catalog=catalog, **both)
    assert isinstance(missing, Refusal)
    assert "where the driver of ROCm 10.0 is to be had" in choice.refusal(missing)


@pytest.mark.parametrize(
    ("has", "asked", "said"),
    [
        (CONTAINER, {}, "or set rocm.image"),
        (BARE.model_copy(update={"gpus": []}), {}, "[hardware.driver-has-a-gpu]"),
        (BARE, {"releases": ["7.14"]}, "releases = '6.4' gives ROCm 6.4"),
        (BARE, {"releases": ["6.4", "<7"]}, "6.4, <7 are 6.4, 6.4: one twice"),
        (BARE, {**NEW, "releases": ["7.14", "6.4"]}, "ROCm 7.14 and 6.4 cannot be side by side"),
        (BARE.model_copy(update={"secure_boot": True}), {}, "Secure Boot is on"),
        (BARE.model_copy(update={"secure_boot": None}), {}, "Secure Boot could not be read"),
        (
            BARE.model_copy(update={"kernel": "6.12.1"}),
            {"releases": ["6.4"]},
            "[rocm.kernel-is-supported]",
        ),
    ],
)
def test_refusals_are_one_line(has: Accelerators, asked: dict[str, Any], said: str) -> None:
    assert said in refused(has, **asked)


def test_secure_boot_is_no_matter_of_the_kernels_own_driver() -> None:
    has = BARE.model_copy(update={"secure_boot": True})
    assert chosen(has, driver="kernel")
    assert chosen(has, secure_boot="mok")


def test_what_is_there_is_looked_at_although_it_should_not_be() -> None:
    has = BARE.model_copy(update={"kernel": "6.12.1", "secure_boot": True})
    assert isinstance(answered(has), Refusal)
    assert not isinstance(answered(has, whatever=True), Refusal)


# Packages and repositories


def laid_out(**asked: Any) -> Release:
    (one,) = chosen(**asked)
    return release(settings(**asked), one, shipped())


def test_an_old_release_has_its_number_in_all_names() -> None:
    found = laid_out(releases=["6.4"])
    assert found.packages == ("rocm6.4.4", "rocm-hip-runtime6.4.4", "amd-smi-lib6.4.4")
    assert found.prefix == "/opt/rocm-6.4.4"
    assert found.repository
    assert found.repository.supplies == ("*6.4.4",)
    assert found.repository.uris == ("https://repo.radeon.com/rocm/apt/6.4.4",)
    assert (found.repository.suites, found.repository.key.fingerprints) == (("jammy",), (AMDS,))


def test_a_new_release_is_below_opt_rocm() -> None:
    found = laid_out(**NEW)
    assert found.packages == ("amdrocm7.14",)
    assert found.amd_smi == "/opt/rocm/core-7.14/bin/amd-smi"
    assert found.repository
    assert found.repository.name == "rocm-7-14"
    assert found.repository.key.fingerprints == (KEY,)


def test_a_key_without_an_address_is_none() -> None:
    asked = {"releases": ["7.14"], "sources": {"7.14": {"key": KEY}}}
    assert laid_out(**asked).repository is None
    with ctx_host.use(Node()), pytest.raises(DeployError, match=r"the key of 7\.14 is known"):
        deploy._stack(settings(**asked), chosen(**asked), shipped(), ())


def test_driver_of_the_release_from_its_own_repository() -> None:
    (one,) = chosen(**NEW)
    found = driver_repository(settings(**NEW), one, shipped())
    assert found
    assert found.uris == ("https://repo.radeon.com/amdgpu/31.40.1/ubuntu",)
    assert found.suites == ("jammy",)
    assert found.key.fingerprints == (AMDS,)


def test_a_mirror_is_signed_by_amds_key_or_its_own() -> None:
    (one,) = chosen(**NEW)
    uri = "https://mirror.example/amdgpu"
    plain = driver_repository(settings(sources={"driver": {"uri": uri}}), one, shipped())
    own = driver_repository(settings(sources={"driver": {**OWN, "uri": uri}}), one, shipped())
    # A fingerprint alone does not take the place of what the catalog pins.
    alone = driver_repository(settings(sources={"driver": OWN}), one, shipped())
    assert plain and own and alone  # noqa: PT018
    assert [one.key.fingerprints[0] for one in (plain, own, alone)] == [AMDS, KEY, AMDS]
    assert plain.uris == (uri,)


def test_old_releases_need_the_drivers_repository_for_its_libraries() -> None:
    def needs(**asked: Any) -> bool:
        return needs_driver_repository(settings(**asked), chosen(**asked), shipped())

    assert needs(releases=["6.4"], driver="kernel")
    assert needs(**NEW)
    assert not needs(**NEW, driver="kernel")


def test_headers_of_the_kernel_that_is_meant() -> None:
    asked = settings(image=IMAGE)
    found = choice.headers(asked, DEBIAN_12, CONTAINER, shipped())
    assert found == ("linux-headers-6.1.0-50-amd64",)


# Refusals of the deploy


class Node:
    """A node with packages."""

    name = "node1"

    def __init__(self, *installed: str) -> None:
        self.installed = dict.fromkeys(installed, "1")

    def get_fact(self, fact: type, **arguments: Any) -> PackagesData:
        return PackagesData(installed=self.installed)


@pytest.mark.parametrize(
    ("installed", "asked", "strange"),
    [
        (("rocm-core",), NEW, "rocm-core"),
        (("rocm-core6.4.4",), NEW, "rocm-core6.4.4"),
        (("rocm-core",), {"releases": ["6.4"]}, "rocm-core"),
        (("amdrocm-core7.14",), {"releases": ["6.4"]}, "amdrocm-core7.14"),
        (("rocm-core6.3.3",), {"releases": ["6.4"]}, ""),
        (("amdrocm-core7.13",), NEW, ""),
    ],
)
def test_another_layout_has_to_go_first(
    installed: tuple[str, ...], asked: dict[str, Any], strange: str
) -> None:
    with ctx_host.use(Node(*installed)):
        if not strange:
            assert deploy._chosen(settings(**asked), DEBIAN_12, BARE, ROW, shipped())
            return
        with pytest.raises(DeployError, match=f"has to go first: {strange}; nothing here"):
            deploy._chosen(settings(**asked), DEBIAN_12, BARE, ROW, shipped())


OLD_SCHEME, OLDER, SAME, NEWER = (
    *("1:6.12.12.60404-2000000.22.04", "30.30.3.0.30300300-2327507.22.04"),
    *("31.40.1.0.31400100-2364437.22.04", "31.50.0.0-2390945.22.04"),
)


def test_driver_that_firmware_is_of() -> None:
    found = [driver_of(one) for one in (OLD_SCHEME, OLDER, SAME, NEWER, "")]
    assert found == ["", "30.30.3", "31.40.1", "31.50.0", ""]


@pytest.mark.parametrize(
    ("there", "asked", "said"),
    [
        ("", {}, ""),
        (OLDER, {}, ""),
        (SAME, {}, ""),
        (NEWER, {}, "driver 31.50.0 is installed, and 31.40.1 is older"),
        (OLD_SCHEME, {}, "is counted otherwise than 31.40.1"),
        (NEWER, {"downgrade": True}, ""),
        (NEWER, {"driver": "kernel"}, ""),
        (OLD_SCHEME, {"releases": ["6.4"]}, ""),
    ],
)
def test_an_older_driver_is_meant_or_refused(there: str, asked: dict[str, Any], said: str) -> None:
    asked = {**NEW, **asked}
    installed = {FIRMWARE: there} if there else {}
    found = choice.goes_back(settings(**asked), chosen(**asked), installed)
    assert said in found
    assert bool(said) is bool(found)


def test_refusal_of_the_resolver_is_one_of_the_plan() -> None:
    with ctx_host.use(Node()), pytest.raises(DeployError, match=r"^node1: rocm: the key of rocm-7"):
        deploy._chosen(settings(releases=["7.14"]), DEBIAN_12, BARE, ROW, shipped())
