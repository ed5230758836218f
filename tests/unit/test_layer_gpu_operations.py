"""The gpu layer: what it reads of a node, and what its own operations do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.operation import OperationMeta
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host

from nodeproof.facts.systemd import UnitData
from nodeproof.layers.gpu import operations
from nodeproof.layers.gpu.facts import GpuValues, Live, LiveDriver, option_is
from nodeproof.layers.gpu.settings import Settings
from nodeproof.layers.gpu.wanted import wanted_values


def settings(**asked: Any) -> Settings:
    return Settings.model_validate(asked)


# Facts


NVRM = (
    "nvrm=NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.178.04  "
    "Release Build  (dvs-builder@host)"
)


def test_live_driver_is_read() -> None:
    live = Live().process(
        [
            "module=nvidia-peermem",
            NVRM,
            "param=RmProfilingAdminOnly: 1",
            'param=RegistryDwords: "a=1"',
            "gpu=00000000:18:00.0, Default, 700.00, Enabled, Enabled",
        ]
    )
    assert (live.loaded, live.open, live.modules) == ("580.178.04", True, ("nvidia-peermem",))
    assert live.params == {"RmProfilingAdminOnly": "1", "RegistryDwords": "a=1"}
    assert live.gpus == (GpuValues("00000000:18:00.0", "Default", "700.00", "Enabled", "Enabled"),)
    assert live.trouble == ""


def test_live_driver_that_does_not_answer() -> None:
    live = Live().process([NVRM, "trouble=Unable to determine the device handle", "trouble="])
    assert (live.gpus, live.trouble) == ((), "Unable to determine the device handle")


def test_live_script_on_this_machine(tmp_path: Path) -> None:
    """With no driver it says which modules are there, and nothing else."""
    done = subprocess.run(
        ["sh", "-c", str(Live().command("no-such-module"))], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("params", "option", "value", "found"),
    [
        ({"RmProfilingAdminOnly": "1"}, "NVreg_RestrictProfilingToAdminUsers", "1", True),
        ({"RestrictProfilingToAdminUsers": "0"}, "NVreg_RestrictProfilingToAdminUsers", "1", False),
        ({"EnableGpuFirmware": "16"}, "NVreg_EnableGpuFirmware", "0x10", True),
        ({}, "NVreg_EnableMSI", "1", None),
    ],
)
def test_option_of_the_loaded_module(
    params: dict[str, str], option: str, value: str, found: bool | None
) -> None:
    assert option_is(params, option, value) is found


# Operations


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


def commands(operation: Any, node: Node, **arguments: Any) -> list[str]:
    with ctx_host.use(node):
        return [str(command) for command in operation._inner(**arguments)]


def earlier(*, changed: bool) -> OperationMeta:
    meta = OperationMeta("", None)
    meta.set_complete(True, ["changed"] if changed else [], CommandOutput([]))
    return meta


def test_service_that_cannot_run_yet_starts_at_boot_only() -> None:
    off = UnitData(known=True, state="disabled")
    found = commands(operations.service, Node(Unit=off), unit="x.service", start=False)
    assert found == ["systemctl enable -- x.service"]
    found = commands(operations.service, Node(Unit=off), unit="x.service", start=True)
    assert [one.split()[1] for one in found] == ["enable", "start"]
    on = UnitData(known=True, state="enabled", active=True)
    assert commands(operations.service, Node(Unit=on), unit="x.service", start=False) == []
    found = commands(operations.service, Node(Unit=on), unit="x", start=False, enabled=False)
    assert [one.split()[1] for one in found] == ["disable", "stop"]


def test_modules_that_are_missing_are_loaded() -> None:
    node = Node(Live=LiveDriver(modules=("gdrdrv",)))
    found = commands(operations.loaded, node, modules=["gdrdrv", "nvidia-peermem"])
    assert found == ["modprobe -- nvidia-peermem"]


@pytest.mark.parametrize(
    ("unit", "mode", "start", "restarts"),
    [
        (UnitData(state="enabled", active=True), "Default", True, None),
        (UnitData(state="enabled", active=True), "Prohibited", True, True),
        (UnitData(state="enabled", active=True, pending=True), "Default", True, True),
        (UnitData(state="enabled"), "Default", True, True),
        (UnitData(state="enabled"), "Default", False, None),
        (UnitData(state="disabled"), "Default", False, False),
    ],
)
def test_gpus_are_set(unit: UnitData, mode: str, start: bool, restarts: bool | None) -> None:
    live = LiveDriver(loaded="580.178.04", gpus=(GpuValues("a", mode),) if start else ())
    wanted = wanted_values(settings(compute_mode="default"))
    found = commands(
        operations.gpus_set,
        Node(Unit=unit, Live=live),
        unit="u.service",
        wanted=wanted,
        modules=[],
        start=start,
        after=earlier(changed=False),
    )
    assert len(found) == (restarts is not None)
    assert ("restart" in "".join(found)) is bool(restarts)


def test_values_in_nvidia_smis_words() -> None:
    asked = settings(compute_mode="exclusive-process", power_limit_w=400, ecc=False)
    assert wanted_values(asked) == {
        "compute_mode": "Exclusive_Process",
        "power_limit": "400",
        "ecc_pending": "Disabled",
    }
    gpu = GpuValues("a", "Exclusive_Process", "400.00", "Enabled", "Disabled")
    assert operations.as_asked(gpu, wanted_values(asked))
    assert not operations.as_asked(gpu, wanted_values(settings(power_limit_w=350)))
