"""A node's accelerators in a few words."""

from __future__ import annotations

import os
from typing import Any

import pytest
from local_fleet import fleet, run

from nodeproof.engine.result import Command
from nodeproof.evidence.accelerators import accelerators
from nodeproof.evidence.summary import machine
from nodeproof.facts.accelerators import Accelerators, Gpu, InstalledDriver


def facts(**fields: Any) -> dict[str, Any]:
    return {"accelerators": Accelerators(**fields).model_dump(mode="json")}


def gpu(at: int, name: str | None = "NVIDIA H200") -> Gpu:
    return Gpu(pci_address=f"0000:{at:02x}:00.0", vendor_id="10de", device_id="2335", name=name)


def test_nothing_is_said_of_nothing() -> None:
    assert list(accelerators(facts())) == []
    assert list(accelerators({})) == []


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        (True, "driver 580.178.04 (open)"),
        (False, "driver 580.178.04 (not loaded)"),
    ],
)
def test_gpus_of_one_kind_are_counted(loaded: bool, words: str) -> None:
    driver = InstalledDriver(version="580.178.04", flavour="open", loaded=loaded)
    found = facts(gpus=[gpu(1), gpu(2), gpu(3, None)], nvswitches=4, driver=driver)
    assert machine({"kernel": "6.8", **found}) == (
        f"6.8, 2 NVIDIA H200, 1 accelerator 10de:2335, 4 NVSwitches, {words}"
    )


def test_nouveau_is_told() -> None:
    assert list(accelerators(facts(gpus=[gpu(1)], nouveau_loaded=True)))[-1] == "driver nouveau"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as a node does")
def test_inspect_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    (node,) = run(Command.INSPECT, fleet("a"), lambda _: None, monkeypatch).nodes
    found = Accelerators.model_validate(node.facts["accelerators"])
    assert found.kernel == os.uname().release
    assert found.arch == os.uname().machine
