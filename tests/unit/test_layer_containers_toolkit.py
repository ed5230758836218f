"""The container toolkit: what may be asked, where it comes from, what is refused, what is done."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError
from pyinfra.api.operation import OperationMeta
from pyinfra.context import ctx_host
from tests.unit.test_layer_containers_engines import ACTIVE, Node

from nodeproof.catalog.distributions import distributions
from nodeproof.catalog.resolve.asked import joined
from nodeproof.catalog.resolve.choice import Choice, Refusal
from nodeproof.catalog.whole import shipped
from nodeproof.facts.accelerators import Accelerators, Gpu
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.facts.systemd import UnitData
from nodeproof.layers.containers import deploy, operations
from nodeproof.layers.containers.facts import AmdCtk, AmdCtkData, NvidiaCtk, NvidiaCtkData
from nodeproof.layers.containers.probes import SAID_VERSION, VERSION_OF
from nodeproof.layers.containers.settings import NVIDIA_CDI, NVIDIA_CTK, NVIDIA_SMI, Settings
from nodeproof.layers.containers.stack import Toolkit, answered, toolkit
from nodeproof.layers.gpu.settings import Settings as GpuSettings

DEBIAN_12, DEBIAN_13 = distributions()["debian-12"], distributions()["debian-13"]
NODE = NodeFacts(os_id="debian", os_version="13", kernel="6.12.73+deb13-amd64")
AMDGPU = Gpu(
    pci_address="0000:05:00.0", vendor_id="1002", device_id="74a1", class_code="120000",
    driver_in_use="amdgpu",
)  # fmt: skip
BARE = Accelerators(kernel="6.12.73+deb13-amd64", arch="x86_64", secure_boot=False)
AMD = BARE.model_copy(update={"gpus": [AMDGPU]})
KEY = "0123456789ABCDEF0123456789ABCDEF01234567"
OLD = "amd-container-toolkit", "1.2.0~24.04"


def settings(**asked: Any) -> Settings:
    return Settings.model_validate({"toolkit": "latest", **asked})


def made(has: Accelerators = BARE, **asked: Any) -> Toolkit:
    answer = answered(settings(**asked), NODE, has, shipped(), whatever=False)
    assert isinstance(answer, Choice), answer.text
    assert answer.container_toolkit
    return toolkit(settings(**asked), answer.container_toolkit, shipped())


@pytest.mark.parametrize(
    "asked",
    [
        {"toolkit": "1.20; id"},
        {"toolkit": ""},
        {"toolkit": "newest"},
        {"repository_uri": "https://mirror.example/deb"},
        {"repository_uri": "file:///srv/deb/"},
        {"repository_key": KEY.lower()},
        {"repository_key_uri": "https://mirror.example/key$(id).asc"},
        {"allow_insecure": ["nvidia 5850"]},
        {"amd_runtime": True},
        {"amd_runtime": "yes", "docker": True},
    ],
)
def test_what_is_not_understood_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**asked)


def test_layers_ask_together() -> None:
    driver = GpuSettings(driver="580")
    mine = settings(toolkit="1.19", allow_insecure=["nvidia-5850"])
    asked = joined([driver, mine])
    assert (asked.driver, asked.container_toolkit) == ("580", "1.19")
    assert asked.allow_insecure == ["nvidia-5850"]
    assert driver.asked is asked
    silent = Settings(allow_insecure=["nvidia-5850"])
    assert silent.asks() == {}, "of nobody's toolkit nothing is accepted"


# Where it comes from


def test_nvidias_is_whole_and_from_its_repository() -> None:
    found = made()
    assert (found.vendor, found.version, found.refreshes) == ("nvidia", "1.20.0", True)
    assert found.stack.wanted == dict.fromkeys(
        (
            *("nvidia-container-toolkit", "nvidia-container-toolkit-base"),
            *("libnvidia-container-tools", "libnvidia-container1"),
        ),
        "1.20.0",
    )
    assert found.repository
    assert found.repository.uris == (
        "https://nvidia.github.io/libnvidia-container/stable/deb/amd64/",
    )
    assert found.repository.suites == ("/",)
    assert found.repository.key.fingerprints == ("C95B321B61E88C1809C4F759DDCAE044F796ECB0",)
    arm = made(BARE.model_copy(update={"arch": "aarch64"})).repository
    assert arm
    assert arm.uris[0].endswith("/deb/arm64/")


def test_an_old_one_brings_no_units() -> None:
    assert not made(toolkit="1.17", allow_insecure=["nvidia-5850"]).refreshes


def test_amds_has_the_distribution_in_its_version() -> None:
    found = made(AMD)
    assert (found.vendor, found.version, found.refreshes) == ("amd", "1.3.0", False)
    assert found.stack.wanted == {"amd-container-toolkit": "1.3.0~*"}
    assert found.repository
    assert found.repository.uris == ("https://repo.radeon.com/amd-container-toolkit/apt/",)
    assert (found.repository.suites, found.repository.components) == (("noble",), ("main",))
    assert found.repository.key.fingerprints == ("CA8BB4727A47B4D09B4EE8969386B48A1A693C5C",)


def test_a_mirror_is_signed_by_its_maker_or_anew() -> None:
    uri = "https://mirror.example/amd/"
    own = made(AMD, repository_uri=uri).repository
    anew = made(AMD, repository_uri=uri, repository_key=KEY).repository
    # A fingerprint alone does not take the place of what the catalog pins.
    alone = made(AMD, repository_key=KEY).repository
    assert own and anew and alone  # noqa: PT018
    assert own.uris == anew.uris == (uri,)
    assert anew.key.fingerprints == (KEY,)
    assert own.key.fingerprints == alone.key.fingerprints != anew.key.fingerprints


# What is refused


class Deploying(Node):
    """A node with accelerators."""

    name = "node1"

    def __init__(self, has: Accelerators) -> None:
        super().__init__(Gpus=has)


def refused(has: Accelerators, row: Any = DEBIAN_13, **asked: Any) -> str:
    with ctx_host.use(Deploying(has)), pytest.raises(DeployError) as error:
        deploy._chosen(settings(**asked), NODE, row)
    return str(error.value)


def test_an_insecure_one_is_refused_in_this_layers_words() -> None:
    said = refused(BARE, toolkit="1.18")
    assert "1.18.2 is open to nvidia-5850" in said
    assert "toolkit = 'latest'" in said
    seen = answered(settings(toolkit="1.18"), NODE, BARE, shipped(), whatever=True)
    assert isinstance(seen, Choice), "what is there is looked at, whether it should be or not"
    assert isinstance(
        answered(settings(toolkit="1.18"), NODE, BARE, shipped(), whatever=False), Refusal
    )


def test_amds_needs_a_driver_that_drives() -> None:
    idle = AMD.model_copy(update={"gpus": [AMDGPU.model_copy(update={"driver_in_use": None})]})
    assert "amdgpu drives no GPU" in refused(idle)
    there = idle.model_copy(update={"container_toolkits": {OLD[0]: OLD[1]}})
    with ctx_host.use(Deploying(there)):
        found = deploy._chosen(settings(toolkit="1.2"), NODE, DEBIAN_13)
    assert found, "what is there already need not be installed"
    assert "amdgpu drives no GPU" in refused(there)


def test_an_engine_that_is_too_old_is_refused() -> None:
    said = refused(BARE, DEBIAN_12)
    assert "podman of Debian 12 (bookworm) is older than the CDI specifications" in said
    assert "podman 5.1.0" in said
    assert "docker 26.1.0" in refused(BARE, DEBIAN_12, podman=False, docker=True)
    by_hook = {"podman": False, "docker": True, "nvidia_runtime": "legacy", "systemd_cgroup": False}
    for row, asked in ((DEBIAN_12, by_hook), (DEBIAN_12, {"podman": False}), (DEBIAN_13, {})):
        assert deploy._too_old(settings(**asked), row) == ""
    with ctx_host.use(Deploying(AMD)), pytest.raises(DeployError, match="needs Docker 25"):
        deploy.deploy_layer._inner(settings(docker=True, amd_runtime=True), NODE, DEBIAN_12)


def test_without_a_key_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = shipped()
    keys = {**catalog.keys}
    del keys["nvidia-container-toolkit"]
    without = catalog.model_copy(update={"keys": keys})
    monkeypatch.setattr(deploy, "current", lambda: without)
    assert "set repository_key and repository_key_uri" in refused(BARE)


# What is done


def earlier(*, changed: bool) -> OperationMeta:
    meta = OperationMeta("", None)
    meta._maybe_is_change = changed
    return meta


def test_units_are_foreseen_where_the_toolkit_only_comes() -> None:
    node = Node(NvidiaCtk=NvidiaCtkData())
    after = [earlier(changed=True)]
    assert "systemctl enable -- nvidia-cdi-refresh.path" in node.run(
        operations.cdi_refresh, brings=True, after=after
    )
    assert node.run(operations.cdi_refresh, brings=True, after=[earlier(changed=False)]) == []


def test_units_of_ours_give_way_to_the_toolkits() -> None:
    ours = [f"nodeproof-cdi-refresh.{kind}" for kind in ("path", "service")]
    node = Node(
        {f"/etc/systemd/system/{unit}": "old" for unit in ours},
        NvidiaCtk=NvidiaCtkData(present=True, refreshes=True, ours=True),
        **dict.fromkeys(ours, ACTIVE),
    )
    commands = node.run(operations.cdi_refresh)
    for unit in ours:
        assert f"systemctl disable -- {unit}" in commands
        assert f"systemctl stop -- {unit}" in commands
        assert f"rm -f -- /etc/systemd/system/{unit}" in commands


INSTANCES = [f"MIG-{n}a1b2c3d-0000-5000-8000-00000000000{n}" for n in range(3)]
LISTED = f"""GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-9f3e2d1c-0000-4000-8000-000000000000)
  MIG 3g.40gb     Device  0: (UUID: {INSTANCES[0]})
  MIG 4g.40gb     Device  1: (UUID: {INSTANCES[1]})
"""


@pytest.mark.parametrize(
    ("named", "undescribed"),
    [
        *((INSTANCES[:2], False), (INSTANCES[1::-1], False)),
        *((INSTANCES[:1], True), (INSTANCES, True), ([], True), (None, True)),
    ],
)
def test_a_specification_of_other_instances_is_noticed(
    tmp_path: Path, named: list[str] | None, undescribed: bool
) -> None:
    """Its layout is what nvidia-ctk writes: devices by index, then by UUID."""
    for program, said in (("nvidia-ctk", ""), ("nvidia-smi", LISTED)):
        (tmp_path / program).write_text(f"#!/bin/sh\nprintf '%s' '{said}'\n")
        (tmp_path / program).chmod(0o755)
    if named is not None:
        names = ["0", *(f"0:{n}" for n, _ in enumerate(named)), *named, "all"]
        text = "".join(f'    - name: "{one}"\n' for one in names)
        (tmp_path / "nvidia.yaml").write_text(f"devices:\n{text}")
    command = NvidiaCtk().command().replace("/dev/nvidiactl", "/dev/null")
    for path in (NVIDIA_CTK, NVIDIA_SMI, NVIDIA_CDI):
        command = command.replace(path, str(tmp_path / path.rpartition("/")[2]))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert NvidiaCtk().process(done.stdout.splitlines()).undescribed is undescribed


def test_other_instances_are_described_anew() -> None:
    there = dict.fromkeys((f"nvidia-cdi-refresh.{kind}" for kind in ("path", "service")), ACTIVE)
    node = Node(NvidiaCtk=NvidiaCtkData(present=True, refreshes=True), **there)
    node.run(operations.cdi_refresh)
    assert node.run(operations.cdi_refresh) == []
    node.facts["NvidiaCtk"] = NvidiaCtkData(present=True, refreshes=True, undescribed=True)
    assert node.run(operations.cdi_refresh) == [
        "systemctl restart -- nvidia-cdi-refresh.service",
    ]


def test_amds_specification_is_written_at_boot_and_anew() -> None:
    assert Node(AmdCtk=AmdCtkData()).run(operations.amd_cdi) == []
    node = Node(AmdCtk=AmdCtkData(present=True, undescribed=True))
    assert node.run(operations.amd_cdi)[-3:] == [
        "systemctl daemon-reload",
        "systemctl enable -- nodeproof-amd-cdi.service",
        "systemctl start -- nodeproof-amd-cdi.service",
    ]
    assert {*node.files} == {
        *("/etc/systemd/system/nodeproof-amd-cdi.service", operations.AMD_RULE),
    }
    node.facts |= {"nodeproof-amd-cdi.service": UnitData(known=True, state="enabled")}
    gone = node.run(operations.amd_cdi)
    assert gone == ["systemctl start -- nodeproof-amd-cdi.service"], "the specification is gone"
    node.facts["AmdCtk"] = AmdCtkData(present=True)
    assert node.run(operations.amd_cdi) == []
    assert node.run(operations.amd_cdi, after=[earlier(changed=True)]) == gone


@pytest.mark.parametrize(
    ("there", "spared"), [({}, False), ({OLD[0]: "1.3.0~22.04"}, False), ({OLD[0]: OLD[1]}, True)]
)
def test_an_upgrade_of_amds_spares_what_others_wrote(there: dict[str, str], spared: bool) -> None:
    node = Node(
        {operations.AMD_REMOVAL: "#!/bin/bash\nrm -rf /etc/cdi\n"},
        AptPackages=PackagesData(there),
    )
    node.run(operations.amd_spared, stack=made(AMD).stack)
    assert ("rm -rf" in node.files[operations.AMD_REMOVAL]) is not spared


def test_amds_fact() -> None:
    assert AmdCtk().process([]) == AmdCtkData()
    assert AmdCtk().process(["present", "undescribed"]) == AmdCtkData(True, True)
    said = subprocess.run(["sh", "-c", AmdCtk().command()], capture_output=True, check=True)
    assert said.stderr == b""


@pytest.mark.parametrize(
    ("who", "said", "version"),
    [
        ("nvidia", "NVIDIA Container Toolkit CLI version 1.20.0\ncommit: 4f60e03\n", "1.20.0"),
        ("amd", "Version: v1.3.0\nBuild Date: unknown\nGitCommit: none\n", "1.3.0"),
        ("amd", "Version: 1.3.0\n", "1.3.0"),
        ("podman", "podman version 5.4.2\n", "5.4.2"),
        ("docker", "26.1.5+dfsg1\n", "26.1.5"),
        (
            "containerd",
            "containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~x\n",
            "1.7.24",
        ),
        ("containerd", "containerd github.com/containerd/containerd v2.1.4 abc\n", "2.1.4"),
    ],
)
def test_what_says_its_version_is_understood(who: str, said: str, version: str) -> None:
    found = re.search(SAID_VERSION[who], said, re.MULTILINE)
    assert found
    assert found[1] == version
    assert SAID_VERSION.keys() == VERSION_OF.keys()
