"""The gpu layer: what may be asked, what is chosen, and what its own operations do."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError
from pyinfra.context import ctx_host

from nodeproof.catalog.resolve.choice import Choice, DriverChoice, Place, Refusal
from nodeproof.catalog.resolve.image import Image, imagined
from nodeproof.catalog.resolve.machine import of_node
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.catalog.whole import shipped
from nodeproof.facts.accelerators import Accelerators, Gpu, InstalledDriver
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.gpu import deploy
from nodeproof.layers.gpu.settings import Settings
from nodeproof.layers.gpu.stack import stack
from nodeproof.repositories import nvidia
from nodeproof.repositories.spec import DnfRepository
from nodeproof.repositories.stack import Stack

TODAY = date(2026, 11, 23)
DEBIAN_12 = NodeFacts(os_id="debian", os_version="12", kernel="6.1.0-50-amd64")
BARE = Accelerators(
    kernel="6.1.0-50-amd64", kernel_headers=True, arch="x86_64", secure_boot=False, platform="bare"
)
CONTAINER = BARE.model_copy(
    update={"platform": "container", "kernel": "6.12.1-host", "secure_boot": None}
)
H100 = Gpu(pci_address="0000:18:00.0", vendor_id="10de", device_id="2330", class_code="030200")
IMAGE = {"gpus": ["10de:2330"], "nvswitches": 4, "kernel": "6.1.0-50-amd64"}


def settings(**asked: Any) -> Settings:
    return Settings.model_validate(asked)


def answered(has: Accelerators, **asked: Any) -> Choice | Refusal:
    return resolve(settings(**asked).asked, of_node(DEBIAN_12, has), shipped(), TODAY)


# What may be asked


@pytest.mark.parametrize(
    "asked",
    [
        {"driver": "580; id"},
        {"driver": "five-eighty"},
        {"image": {}},
        {"image": {"gpus": []}},
        {"image": {"gpus": ["1002:74a1"]}},
        {"image": {"gpus": ["10de:2330", "10de:2330"]}},
        {"repository_uri": "https://mirror.example/x86_64"},
        {"repository_uri": "https://mirror.example/../x/"},
        {"repository_uri": "https://user:word@mirror.example/x/"},
        {"repository_key_uri": "https://mirror.example/key"},
        {"module_options": {"RestrictProfiling": "1"}},
        {"module_options": {"NVreg_RestrictProfilingToAdminUsers": "0"}},
        {"module_options": {"NVreg_EnableMSI": "1 NVreg_X=2"}},
        {"compute_mode": "exclusive"},
        {"power_limit_w": 5},
        # What the resolver knows, and this layer does not make so.
        {"mig": True},
        {"cuda": ["13"]},
        {"rocm": "latest"},
        {"container_toolkit": "latest"},
        {"source": "distribution"},
    ],
)
def test_settings_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(asked)


def test_profiling_is_restricted_by_default() -> None:
    assert settings().options == {"NVreg_RestrictProfilingToAdminUsers": "1"}
    assert settings(restrict_profiling=False).options["NVreg_RestrictProfilingToAdminUsers"] == "0"


def test_modules_beside_the_driver() -> None:
    assert settings(peer_access="dma-buf").modules_at_boot == ()
    every = settings(peer_access="peermem", gds=True, gdrcopy=True)
    assert every.modules_at_boot == ("nvidia-peermem", "gdrdrv", "nvidia-fs")


# What is chosen


def test_image_is_for_machines_that_are_not_here() -> None:
    answer = answered(CONTAINER, driver="580", image=IMAGE)
    assert isinstance(answer, Choice)
    assert answer.driver
    assert (answer.driver.version, answer.driver.modules) == ("580.178.04", "open")
    assert {"fabric-manager", "nscq", "persistenced"} <= {one.id for one in answer.companions}
    assert answer.driver.headers == ("linux-headers-6.1.0-50-amd64",)


def test_image_made_in_a_container_needs_a_kernel() -> None:
    answer = answered(CONTAINER, driver="580", image={"gpus": ["10de:2330"]})
    assert isinstance(answer, Refusal)
    assert "set image.kernel" in in_one_line(answer)


def test_image_made_on_its_own_kernel_keeps_it() -> None:
    has = BARE.model_copy(update={"platform": "vm"})
    there = imagined(Image(gpus=["10de:2330"]), has)
    assert (there.kernel, there.kernel_headers) == (BARE.kernel, True)


@pytest.mark.parametrize(
    ("has", "asked", "said"),
    [
        (CONTAINER, {}, "set driver to none; or set gpu.image"),
        (BARE, {}, "there is no NVIDIA GPU on the PCI bus [hardware.driver-has-a-gpu]"),
        (
            CONTAINER,
            {"driver": "580.126.09", "image": IMAGE},
            "nearest that works: driver = '580' gives driver 580.178.04 (open)",
        ),
        (CONTAINER, {"driver": "580", "image": {**IMAGE, "secure_boot": True}}, "Secure Boot"),
        (CONTAINER, {"driver": "580", "image": {**IMAGE, "gpus": ["10de:ffff"]}}, "not in the"),
    ],
)
def test_refusals_are_one_line(has: Accelerators, asked: dict[str, Any], said: str) -> None:
    answer = answered(has, **asked)
    assert isinstance(answer, Refusal)
    assert said in in_one_line(answer)
    assert "\n" not in in_one_line(answer)


def test_holds_of_nodeproof_are_not_in_its_own_way() -> None:
    old = InstalledDriver(version="580.126.09", origin="vendor-repository", flavour="open")
    has = BARE.model_copy(update={"gpus": [H100], "driver": old, "held": ["nvidia-open"]})
    others = answered(has, driver="580")
    assert isinstance(others, Refusal)
    assert others.rule == "present.nothing-is-on-hold"
    ours = answered(has.model_copy(update={"managed": True}), driver="580")
    assert isinstance(ours, Choice)


# Where it comes from

PLACE = Place(
    repository="cuda-debian12-x86_64",
    uri="https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/",
    fingerprint="EB693B3035CD5710E231E123A4B469963BF863CC",
)


def test_vendor_has_the_vendors_key() -> None:
    found = nvidia.repository(settings(), PLACE, shipped())
    assert found
    assert found.uris == (PLACE.uri,)
    assert found.key.fingerprints == (PLACE.fingerprint,)
    assert found.key.url.endswith("/3bf863cc.pub")


def test_mirror_has_the_vendors_key_beside_its_lists() -> None:
    mirror = "https://mirror.example/debian12/"
    found = nvidia.repository(settings(repository_uri=mirror), PLACE, shipped())
    assert found
    assert found.uris == (mirror,)
    assert found.key.fingerprints == (PLACE.fingerprint,)
    assert found.key.url == f"{mirror}3bf863cc.pub"


def test_mirror_that_signs_anew_has_its_own_key() -> None:
    asked = settings(
        repository_uri="https://mirror.example/debian12/",
        repository_key="A" * 40,
        repository_key_uri="https://mirror.example/own.asc",
    )
    found = nvidia.repository(asked, PLACE, shipped())
    assert found
    assert found.key.fingerprints == ("A" * 40,)
    assert found.key.url == "https://mirror.example/own.asc"


def test_key_of_one_repository_is_not_that_of_another() -> None:
    """A fingerprint alone does not take the place of what the catalog pins."""
    found = nvidia.repository(settings(repository_key="A" * 40), PLACE, shipped())
    assert found
    assert found.key.fingerprints == (PLACE.fingerprint,)


EL = {
    "9": NodeFacts(os_id="rocky", os_version="9.8", kernel="5.14.0-687.51.1.el9_8.x86_64"),
    "10": NodeFacts(os_id="rocky", os_version="10.2", kernel="6.12.0-211.16.1.el10_2.x86_64"),
}


def chosen_on(release: str, **asked: Any) -> Choice:
    node = EL[release]
    has = BARE.model_copy(update={"gpus": [H100], "nvswitches": 4, "kernel": node.kernel})
    answer = resolve(settings(**asked).asked, of_node(node, has), shipped(), TODAY)
    assert isinstance(answer, Choice), answer
    return answer


def test_el_9_has_a_repository_for_dnf_and_a_stream() -> None:
    driver = chosen_on("9", driver="580").driver
    assert driver
    assert driver.place
    assert driver.stream == ("nvidia-driver", "580-open")
    assert driver.headers == ("kernel-devel-5.14.0-687.51.1.el9_8.x86_64", "kernel-headers")
    found = nvidia.repository(settings(), driver.place, shipped())
    assert isinstance(found, DnfRepository)
    assert found.uris == (driver.place.uri,)
    assert found.key.fingerprints == ("610C7B14E068A878070DA4E99CD0A493D42D0685",)
    assert found.key.url.endswith("/rhel9/x86_64/D42D0685.pub")


def test_el_10_has_a_key_of_which_only_the_digest_is_known() -> None:
    driver = chosen_on("10", driver="580").driver
    assert driver
    assert driver.place
    assert driver.stream is None
    assert driver.headers[0] == "kernel-devel-matched-6.12.0-211.16.1.el10_2.x86_64"
    found = nvidia.repository(settings(), driver.place, shipped())
    assert isinstance(found, DnfRepository)
    assert found.key.fingerprints == ()
    assert found.key.sha256.startswith("afbea87d3b97")
    assert found.key.sha256_without == "^Version"
    own = nvidia.repository(
        settings(repository_uri="https://mirror.example/el10/", repository_key="A" * 40),
        driver.place,
        shipped(),
    )
    assert own
    assert own.key.fingerprints == ("A" * 40,)


@pytest.mark.parametrize("release", EL)
def test_stack_on_el_names_no_package_that_is_none(release: str) -> None:
    found = stack(chosen_on(release, driver="580"))
    assert found.pin == ""
    assert found.wanted["nvidia-fabricmanager"] == "580.178.04"
    assert set(found.wanted.values()) == {"580.178.04"}
    main = {"9": "nvidia-open", "10": "kmod-nvidia-open-dkms"}[release]
    assert main in found.wanted
    assert "kmod-nvidia-latest-dkms" in found.without


# Its packages


def chosen() -> Stack:
    answer = answered(CONTAINER, driver="580", dcgm=True, image=IMAGE)
    assert isinstance(answer, Choice)
    return stack(answer)


def test_stack_of_a_choice() -> None:
    found = chosen()
    assert found.wanted["nvidia-open"] == found.wanted["nvidia-fabricmanager"] == "580.178.04"
    assert found.wanted["datacenter-gpu-manager-4-core"] == "4.6.0-1"
    assert found.pin == "nvidia-driver-pinning-580.178.04"
    assert {"cuda-drivers", "nvidia-driver-pinning-*"} <= {*found.without}
    assert "nvidia-open" not in found.without


def test_nothing_is_installed_beside_a_driver_that_is_kept() -> None:
    kept = DriverChoice(version="580.178.04", branch="580", modules="open", origin="kept")
    assert stack(Choice(driver=kept)).wanted == {}


# Refusals of the deploy


class Node:
    """A node that has a name."""

    name = "node1"


@pytest.mark.parametrize("origin", ["runfile", "distribution"])
def test_driver_of_another_installer_is_not_removed_here(origin: Any) -> None:
    old = InstalledDriver(version="580.126.09", origin=origin, flavour="open")
    has = BARE.model_copy(update={"gpus": [H100], "driver": old})
    with ctx_host.use(Node()), pytest.raises(DeployError, match="nothing here removes") as caught:
        deploy._chosen(settings(driver="580", installed="replace"), DEBIAN_12, has)
    assert "\n" not in str(caught.value)


def test_refusal_of_the_resolver_is_one_of_the_plan() -> None:
    with ctx_host.use(Node()), pytest.raises(DeployError, match=r"^node1: gpu: there is no NVIDIA"):
        deploy._chosen(settings(), DEBIAN_12, BARE)
