"""The gpu layer: its checks, on a driver that is right and on ones that are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nodeproof.catalog.resolve.asked import joined
from nodeproof.catalog.resolve.choice import Choice, CompanionChoice, DriverChoice
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.layers.gpu import checks
from nodeproof.layers.gpu.facts import GpuValues, LiveDriver
from nodeproof.layers.gpu.settings import Settings


def settings(**asked: Any) -> Settings:
    return Settings.model_validate(asked)


RIGHT = LiveDriver(
    loaded="580.178.04",
    open=True,
    params={"RmProfilingAdminOnly": "1", "EnableMSI": "1"},
    gpus=(GpuValues("a", "Exclusive_Process", "400.00", "Enabled", "Enabled"),),
)
DRIVER = DriverChoice(version="580.178.04", branch="580", modules="open", origin="vendor")
OPEN = Choice(driver=DRIVER)
SET = settings(compute_mode="exclusive-process", power_limit_w=400, ecc=True)


def test_checks_pass_on_what_is_right() -> None:
    checks.test_driver_that_runs_is_the_installed_one(RIGHT, OPEN, "580.178.04")
    checks.test_module_options_in_effect(RIGHT, settings(module_options={"NVreg_EnableMSI": "1"}))
    checks.test_gpus_set_as_asked(SET, RIGHT)
    checks.test_driver_is_what_was_asked_for(settings(driver="580"), "580.178.04")
    checks.test_driver_is_what_was_asked_for(settings(driver="lts"), "580.178.04")
    has = PackagesData(installed={"nvidia-fabricmanager": "580.178.04-1"})
    checks.test_packages_belong_to_one_driver(beside("580.178.04"), "580.178.04", has)


def test_catalog_judges_the_driver_that_is_there() -> None:
    """Whatever layers ask together: the driver that is asked for may be another one."""
    gpu = settings(driver="580", image={"gpus": ["10de:2330"], "kernel": "6.1.0-50-amd64"})
    node = NodeFacts(os_id="debian", os_version="12", kernel="6.1.0-50-amd64")
    has = Accelerators(
        kernel="6.1.0-50-amd64", kernel_headers=True, arch="x86_64", platform="container"
    )
    joined([gpu])
    exactly = checks.exactly.__wrapped__  # type: ignore[attr-defined]
    allowed = checks.test_driver_is_one_that_the_catalog_allows
    allowed(exactly(gpu, "580.178.04"), node, has)
    with pytest.raises(AssertionError, match="is older than"):
        allowed(exactly(gpu, "580.126.09"), node, has)


def beside(version: str) -> Choice:
    one = CompanionChoice(
        id="fabric-manager", packages=("nvidia-fabricmanager",), version=version, exact=True
    )
    return Choice(driver=OPEN.driver, companions=(one,))


def gpu_with(**other: Any) -> LiveDriver:
    return replace(RIGHT, gpus=(*RIGHT.gpus, replace(RIGHT.gpus[0], address="b", **other)))


FAILS: dict[str, tuple[Callable[[], object], str]] = {
    "old module goes on": (
        lambda: checks.test_driver_that_runs_is_the_installed_one(RIGHT, OPEN, "580.180.01"),
        "580.178.04 is loaded, 580.180.01 is installed",
    ),
    "other modules": (
        lambda: checks.test_driver_that_runs_is_the_installed_one(
            replace(RIGHT, open=False), OPEN, "580.178.04"
        ),
        "the proprietary modules are loaded",
    ),
    "option of another value": (
        lambda: checks.test_module_options_in_effect(RIGHT, settings(restrict_profiling=False)),
        "NVreg_RestrictProfilingToAdminUsers is not 0",
    ),
    "option that is not listed": (
        lambda: checks.test_module_options_in_effect(replace(RIGHT, params={}), settings()),
        "the module does not list NVreg_RestrictProfilingToAdminUsers",
    ),
    "one GPU of two in another mode": (
        lambda: checks.test_gpus_set_as_asked(SET, gpu_with(compute_mode="Default")),
        "b: compute_mode is Default",
    ),
    "ECC waits for a reset": (
        lambda: checks.test_gpus_set_as_asked(SET, gpu_with(ecc="Disabled")),
        "b: ecc_pending is Disabled until a reset",
    ),
    "power limit not there": (
        lambda: checks.test_gpus_set_as_asked(SET, gpu_with(power_limit="[N/A]")),
        "b: power_limit is [N/A]",
    ),
    "another branch": (
        lambda: checks.test_driver_is_what_was_asked_for(settings(driver="595"), "580.178.04"),
        "driver 580.178.04 is installed, 595 is asked for",
    ),
    "branch that nobody knows": (
        lambda: checks.test_driver_is_what_was_asked_for(settings(), "999.1"),
        "driver 999.1 is of no branch in the catalog",
    ),
    "fabric manager of another driver": (
        lambda: checks.test_packages_belong_to_one_driver(
            beside("580.178.04"),
            "580.178.04",
            PackagesData(installed={"nvidia-fabricmanager": "580.126.09-1"}),
        ),
        "not of driver 580.178.04: nvidia-fabricmanager 580.126.09-1",
    ),
    "fabric manager missing": (
        lambda: checks.test_packages_belong_to_one_driver(
            beside("580.178.04"), "580.178.04", PackagesData()
        ),
        "nvidia-fabricmanager None",
    ),
}


@pytest.mark.parametrize("what", FAILS)
def test_checks_fail_on_what_is_not(what: str) -> None:
    check, said = FAILS[what]
    with pytest.raises(AssertionError) as caught:
        check()
    assert said in str(caught.value)
