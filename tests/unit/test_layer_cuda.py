"""The cuda layer: what may be asked, what is chosen, how the default is set, what checks say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError
from pyinfra.context import ctx_host

from nodeproof.catalog.resolve.asked import joined
from nodeproof.catalog.resolve.choice import Choice
from nodeproof.catalog.resolve.machine import of_node
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.whole import shipped
from nodeproof.errors import UsageError
from nodeproof.facts.accelerators import Accelerators, Gpu, InstalledDriver
from nodeproof.facts.files import FileStateData
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.layers.cuda import checks, deploy, names, operations
from nodeproof.layers.cuda.facts import Alternative, AlternativeData
from nodeproof.layers.cuda.settings import Settings
from nodeproof.layers.cuda.stack import Toolkits, built_for, toolkits
from nodeproof.layers.gpu.settings import Settings as GpuSettings
from nodeproof.repositories import nvidia
from nodeproof.repositories.stack import is_version

TODAY = date(2026, 11, 29)
NODE = NodeFacts(os_id="debian", os_version="12", kernel="6.1.0-50-amd64")
BARE = Accelerators(
    kernel="6.1.0-50-amd64", kernel_headers=True, arch="x86_64", secure_boot=False, platform="bare"
)
H100 = Gpu(pci_address="0000:18:00.0", vendor_id="10de", device_id="2330", class_code="030200")


def settings(**asked: Any) -> Settings:
    return Settings.model_validate(asked)


def driven(version: str) -> Accelerators:
    driver = InstalledDriver(version=version, origin="vendor-repository", flavour="open")
    return BARE.model_copy(update={"gpus": [H100], "driver": driver})


def made(has: Accelerators = BARE, **asked: Any) -> Toolkits:
    wanted = settings(**asked)
    answer = resolve(wanted.asked, of_node(NODE, has), shipped(), TODAY)
    assert isinstance(answer, Choice), answer
    return toolkits(wanted, answer, shipped())


# What may be asked


@pytest.mark.parametrize(
    "asked",
    [
        {"toolkits": []},
        {"toolkits": ["13; id"]},
        {"toolkits": ["13.1", "13.1"]},
        {"toolkits": "13.1"},
        {"default": "13"},
        {"default": "13.1.1"},
        {"default": "13.1 "},
        {"parts": "runtime"},
        {"modulefiles": "modulefiles"},
        {"modulefiles": "/etc/../root"},
        {"modulefiles": "/etc/$(id)"},
        {"driver": "580"},
        {"repository_uri": "https://mirror.example/x86_64"},
    ],
)
def test_settings_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**asked)


def test_one_choice_serves_both_layers() -> None:
    mirror = "https://mirror.example/debian12/"
    image = {"gpus": ["10de:2330"], "kernel": "6.1.0-50-amd64"}
    gpu = GpuSettings.model_validate({"driver": "580", "image": image, "repository_uri": mirror})
    cuda = settings(toolkits=["13", "12.9"])
    asked = joined([gpu, cuda])
    assert cuda.asked is gpu.asked is asked
    answer = resolve(asked, of_node(NODE, BARE), shipped(), TODAY)
    assert isinstance(answer, Choice)
    assert answer.driver
    assert answer.driver.version == "580.178.04"
    assert [(one.version, one.runs) for one in answer.cuda] == [
        ("13.0.2", "full"),
        ("12.9.1", "full"),
    ]
    assert answer.driver.place
    assert answer.cuda_place
    found = {
        nvidia.repository(asked, one, shipped()) for one in (answer.driver.place, answer.cuda_place)
    }
    assert len(found) == 1


# What is chosen


def test_without_a_driver_the_newest_is_taken() -> None:
    found = made(toolkits=["12.9", "13.1"])
    assert dict(found.versions) == {"13.1": "13.1.1", "12.9": "12.9.1"}
    assert found.default == "13.1"
    assert found.stack.wanted == {"cuda-toolkit-13-1": "13.1.1", "cuda-toolkit-12-9": "12.9.1"}
    assert found.stack.without == ("cuda-compat-*",)


def test_with_a_driver_the_newest_that_runs_in_full_is_taken() -> None:
    assert dict(made(driven("580.178.04")).versions) == {"13.0": "13.0.2"}


@pytest.mark.parametrize(
    ("parts", "package"),
    [
        ("all", "cuda-toolkit-12-9"),
        ("build", "cuda-minimal-build-12-9"),
        ("libraries", "cuda-libraries-12-9"),
    ],
)
def test_parts_of_a_toolkit(parts: Any, package: str) -> None:
    assert made(toolkits=["12.9"], parts=parts).stack.wanted == {package: "12.9.1"}
    installed = {package: "12.9.1-1", "cuda-nvcc-12-9": "12.9.86-1", "cuda-toolkit": "13.2.0-1"}
    assert names.installed(installed, parts, shipped()) == {package: "12.9"}
    assert names.installed({package.replace("12-9", "14-0"): "1"}, parts, shipped())


def test_libraries_are_called_otherwise_by_rpm() -> None:
    asked = settings(toolkits=["13.0"], cudnn=True, nccl=True)
    node = NodeFacts(os_id="rocky", os_version="10.2", kernel="6.12.0-211.16.1.el10_2.x86_64")
    answer = resolve(asked.asked, of_node(node, BARE), shipped(), TODAY)
    assert isinstance(answer, Choice)
    found = toolkits(asked, answer, shipped()).stack
    assert found.wanted["libnccl"] == found.wanted["libnccl-devel"] == "*+cuda13.[0-0]"
    assert {"libcudnn9-cuda-13", "libcudnn9-devel-cuda-13"} <= found.wanted.keys()
    assert "libcudnn9-devel-cuda-12" in found.without


def test_libraries_are_for_the_default_toolkit() -> None:
    found = made(toolkits=["13.0", "12.9"], default="12.9", cudnn=True, nccl=True)
    assert found.stack.wanted["libnccl2"] == found.stack.wanted["libnccl-dev"] == "*+cuda12.[0-9]"
    cudnn = {name for name in found.stack.wanted if name.startswith("libcudnn9")}
    assert cudnn == {
        *("libcudnn9-cuda-12", "libcudnn9-headers-cuda-12", "libcudnn9-dev-cuda-12"),
    }
    assert {one.replace("-12", "-13") for one in cudnn} < {*found.stack.without}
    assert not cudnn & {*found.stack.without}


@pytest.mark.parametrize(
    ("version", "series", "fits"),
    [
        ("2.28.9-1+cuda13.0", "13.0", True),
        ("2.28.9-1+cuda13.0", "13.1", True),
        ("2.32.3-1+cuda13.4", "13.1", False),
        ("2.28.9-1+cuda12.9", "13.1", False),
        ("2.18.5-1", "13.1", False),
        ("2.32.3-1+cuda13.10", "13.10", True),
    ],
)
def test_builds_of_nccl(version: str, series: str, fits: bool) -> None:
    assert is_version(version, built_for(series)) is fits


def test_older_driver_by_a_compatibility_package() -> None:
    found = made(driven("570.211.01"), toolkits=["13.0", "12.8"], forward_compat=True)
    assert found.forward == ("13.0",)
    assert found.stack.wanted["cuda-compat-13-0"] == ""
    assert found.stack.without == ()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"toolkits": ["13.1"], "default": "12.9"}, "default is 12.9, and the toolkits are 13.1"),
        ({"toolkits": ["12.9.0", "12.9.1"]}, "are one package in two versions"),
        ({"toolkits": ["11.8"], "cudnn": True}, "no packages of cuDNN for CUDA 11.8"),
    ],
)
def test_what_fits_no_package(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        made(**asked)


class Node:
    """A node that answers for facts and listens to no-operations."""

    name = "node1"

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.noops: list[str] = []

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        return self.facts[fact.__name__]

    def noop(self, reason: str) -> None:
        self.noops.append(reason)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"toolkits": ["13.0"]}, "needs driver 580 or newer, and 570.211.01 is older"),
        ({"toolkits": ["12.9"], "minor_version_compat": False}, "or set minor_version_compat"),
        ({"toolkits": ["99"]}, "no CUDA toolkit 99 is in the catalog"),
    ],
)
def test_refusal_of_the_resolver_is_one_of_the_plan(asked: dict[str, Any], said: str) -> None:
    with ctx_host.use(Node()), pytest.raises(DeployError, match=f"^node1: cuda: .*{said}") as told:
        deploy._chosen(settings(**asked), NODE, driven("570.211.01"))
    assert "\n" not in str(told.value)


def test_folder_of_another_installer_is_left_alone() -> None:
    for there in (None, FileStateData("link", "777", "root", "root")):
        with ctx_host.use(Node(FileState=there)):
            deploy._no_other_installer()
    there = FileStateData("directory", "755", "root", "root")
    with ctx_host.use(Node(FileState=there)), pytest.raises(DeployError, match="is a directory"):
        deploy._no_other_installer()


# The default toolkit

# dpkg 1.21, and the alternatives of chkconfig 1.33, as on Enterprise Linux
DPKGS = """cuda - {how} mode
  link best version is /usr/local/cuda-13.1
  link currently points to /usr/local/cuda-12.9
  link cuda is /usr/local/cuda
/usr/local/cuda-12.9 - priority 129
/usr/local/cuda-13.1 - priority 131
"""
CHKCONFIGS = """cuda - status is {how}.
 link currently points to /usr/local/cuda-12.9
/usr/local/cuda-12.9 - priority 129
/usr/local/cuda-13.1 - priority 131
Current `best' version is /usr/local/cuda-13.1.
"""
ABSENT = """cuda - auto mode
  link best version not available
  link currently absent
  link cuda is /usr/local/cuda
"""


@pytest.mark.parametrize("says", [DPKGS, CHKCONFIGS])
def test_alternatives_are_read(says: str) -> None:
    for how in ("manual", "auto"):
        found = Alternative().process(says.format(how=how).splitlines())
        assert found == AlternativeData("/usr/local/cuda-12.9", manual=how == "manual")
    assert Alternative().process([]) == AlternativeData()
    assert Alternative().process(ABSENT.splitlines()) == AlternativeData()


@pytest.mark.parametrize(
    ("now", "changes"),
    [
        (AlternativeData(), 1),
        (AlternativeData("/usr/local/cuda-13.1"), 1),
        (AlternativeData("/usr/local/cuda-12.9", manual=True), 1),
        (AlternativeData("/usr/local/cuda-13.1", manual=True), 0),
    ],
)
def test_default_is_chosen_by_hand(now: AlternativeData, changes: int) -> None:
    with ctx_host.use(Node(Alternative=now)):
        found = [
            str(one)
            for one in operations.alternative._inner(
                group="cuda", path="/usr/local/cuda-13.1", places=names.ALTERNATIVES
            )
        ]
    assert len(found) == changes
    assert all("--set cuda /usr/local/cuda-13.1" in one for one in found)


# Checks

THERE = PackagesData(installed={"cuda-toolkit-13-1": "13.1.1-1", "cuda-toolkit-12-9": "12.9.1-1"})
BOTH = {"13.1": "13.1.1", "12.9": "12.9.1"}


def not_newer(supported: str, has: PackagesData = THERE, **asked: Any) -> Callable[[], None]:
    return lambda: checks.test_toolkits_are_not_newer_than_the_driver(
        settings(**asked), BOTH, has, supported
    )


def test_checks_pass_on_what_is_right() -> None:
    compat = PackagesData(installed={**THERE.installed, "cuda-compat-13-1": "590.48.01-1"})
    for right in (
        not_newer("13.1"),
        not_newer("13.4", minor_version_compat=False),
        not_newer("13.0"),
        not_newer("12.9", compat, forward_compat=True),
    ):
        right()
    checks.test_toolkits_that_were_asked_for_are_there(settings(toolkits=["13", ">=12,<13"]), BOTH)
    checks.test_toolkits_that_were_asked_for_are_there(settings(), BOTH)


FAILS: dict[str, tuple[Callable[[], None], str]] = {
    "newer major": (not_newer("12.9"), "the driver supports CUDA 12.9, and there is 13.1"),
    "newer minor": (not_newer("13.0", minor_version_compat=False), "13.0, and there is 13.1"),
    "allowed, and not installed": (not_newer("12.9", forward_compat=True), "there is 13.1"),
    "installed, and not allowed": (
        not_newer("12.9", PackagesData(installed={"cuda-compat-13-1": "1"})),
        "there is 13.1",
    ),
    "old driver": (not_newer("11.8"), "there is 13.1, 12.9"),
    "toolkit missing": (
        lambda: checks.test_toolkits_that_were_asked_for_are_there(
            settings(toolkits=["13.0", "12.9"]), BOTH
        ),
        "not installed: 13.0; there are 13.1, 12.9",
    ),
}


@pytest.mark.parametrize("what", FAILS)
def test_checks_fail_on_what_is_not(what: str) -> None:
    check, said = FAILS[what]
    with pytest.raises(AssertionError) as caught:
        check()
    assert said in str(caught.value)
