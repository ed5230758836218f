"""The gpu layer locks clocks: what may be asked, what is read, refused and proven.

The clocks are those of an A100 as it was recorded; a test that needs others names its one edit.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import OperationError
from pyinfra.context import ctx_host
from tests.recorded import recorded
from tests.unit.test_layer_gpu_operations import Node, commands, earlier

from nodeproof.catalog.resolve.choice import Choice
from nodeproof.facts.systemd import UnitData
from nodeproof.layers.gpu import checks, operations
from nodeproof.layers.gpu.clocks import Clocks, ClocksData, impossible
from nodeproof.layers.gpu.facts import GpuValues, LiveDriver
from nodeproof.layers.gpu.refusals import why_not
from nodeproof.layers.gpu.settings import Settings
from nodeproof.layers.gpu.wanted import wanted_commands

A100 = recorded("nvidia/a100-sxm4-80gb-clocks.xml")
LIVE = LiveDriver(loaded="580.178.04", open=True, gpus=(GpuValues("00000000:01:00.0", "Default"),))
ON = UnitData(known=True, state="enabled", active=True)


def read(folder: Path, said: str, code: int = 0) -> ClocksData:
    """Return what the fact's script makes of what nvidia-smi says."""
    for name, text in (("said", said), ("version", "NVRM version: 580.178.04")):
        (folder / name).write_text(text)
    smi = folder / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n[ \"$*\" = '-q -x' ] || exit 9\ncat {folder}/said\nexit {code}\n")
    smi.chmod(0o755)
    command = Clocks().command().replace("/proc/driver/nvidia/version", f"{folder}/version")
    done = subprocess.run(
        ["sh", "-c", command],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return Clocks().process(done.stdout.splitlines())


@pytest.fixture
def a100(tmp_path: Path) -> ClocksData:
    return read(tmp_path, A100)


# What is read


def test_clocks_are_read(a100: ClocksData) -> None:
    (gpu,) = a100.gpus
    assert (gpu.address, gpu.slowed) == ("00000000:01:00.0", ())
    assert gpu.now == {"graphics": 1275, "memory": 1593}
    assert gpu.can["memory"] == (1593,)
    assert gpu.can["graphics"] == (*range(210, 1411, 15),)


def test_what_slows_a_gpu_is_read(tmp_path: Path) -> None:
    idle = "reason_gpu_idle>Not Active<", "reason_gpu_idle>Active<"
    assert read(tmp_path, A100.replace(*idle)).gpus[0].slowed == ("gpu_idle",)
    older = A100.replace(*idle).replace("clocks_event_", "clocks_throttle_")
    assert read(tmp_path, older).gpus[0].slowed == ("gpu_idle",)


def test_clocks_of_a_gpu_that_does_not_answer(tmp_path: Path) -> None:
    found = read(tmp_path, "Unable to determine the device handle for GPU0\n", code=255)
    assert found == ClocksData(trouble="Unable to determine the device handle for GPU0")


def test_no_clocks_without_a_driver() -> None:
    command = Clocks().command().replace("/proc/driver/nvidia/version", "/nowhere")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# What may be asked


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([1500, 1200], "1500 is above 1200; the lowest goes first"),
        ([1500, 1500], "holds 1500 twice"),
        ([1200, 1500, 1800], "at most 2"),
        ([5], "greater than or equal to 100"),
        (["1500"], "valid integer"),
        (1500, "valid list"),
    ],
)
def test_what_cannot_be_asked(asked: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(graphics_clocks_mhz=asked)


def test_what_nvidia_smi_is_told() -> None:
    assert wanted_commands(Settings()) == []
    asked = Settings(graphics_clocks_mhz=[1200, 1410], memory_clocks_mhz=[1593])
    assert wanted_commands(asked) == ["-lgc 1200,1410", "-lmc 1593,1593"]
    free = Settings.model_validate({"graphics_clocks_mhz": False, "memory_clocks_mhz": []})
    assert wanted_commands(free) == ["-rgc", "-rmc"]
    assert free.sets_gpus
    assert free.locked == {}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"graphics": (210, 1410), "memory": (1593, 1593)}, ""),
        (
            {"graphics": (1200, 1980)},
            "graphics_clocks_mhz: GPU 00000000:01:00.0 has no clock of 1980 MHz, but 210 to 1410; "
            "nearest are 1395 and 1410",
        ),
        ({"graphics": (1000, 1000)}, "nearest are 990 and 1005"),
        ({"memory": (2619, 2619)}, "has no clock of 2619 MHz, but 1593 to 1593; nearest are 1593"),
    ],
)
def test_clocks_that_a_gpu_does_not_have(
    a100: ClocksData, asked: dict[str, tuple[int, int]], said: str
) -> None:
    found = impossible(asked, a100.gpus)
    assert said in found
    assert bool(said) is bool(found)


def test_a_gpu_that_names_no_clocks_cannot_be_locked(tmp_path: Path) -> None:
    start, end = (
        A100.index("            <supported_mem_clock>"),
        A100.index("        </supported_c"),
    )
    gpus = read(tmp_path, f"{A100[:start]}N/A\n{A100[end:]}").gpus
    assert "does not say to which graphics clocks" in impossible({"graphics": (210, 1410)}, gpus)


# What is refused


def refused(settings: Settings, *, asks_gpus: bool = True, **facts: Any) -> str:
    with ctx_host.use(Node(**facts)):
        return why_not(settings, Choice(), "bare", asks_gpus=asks_gpus)


def test_refused_before_the_first_change(a100: ClocksData) -> None:
    assert refused(Settings(graphics_clocks_mhz=[1410]), Clocks=a100) == ""
    assert refused(Settings(graphics_clocks_mhz=[1980]), asks_gpus=False) == ""
    assert refused(Settings()) == ""
    assert "has no clock of 1980 MHz" in refused(Settings(graphics_clocks_mhz=[1980]), Clocks=a100)
    silent = ClocksData(trouble="No devices")
    assert refused(Settings(graphics_clocks_mhz=[1410]), Clocks=silent) == "No devices"


# What is done


def set_to(asked: Sequence[int], clocks: ClocksData, unit: UnitData = ON) -> list[str]:
    return commands(
        operations.gpus_set,
        Node(Unit=unit, Live=LIVE, Clocks=clocks),
        unit="u.service",
        wanted={},
        modules=[],
        start=True,
        after=earlier(changed=False),
        locked={"graphics": (asked[0], asked[-1])},
    )


def test_clocks_are_locked_once(a100: ClocksData) -> None:
    assert set_to([1200, 1410], a100) == []
    assert len(set_to([1200, 1410], a100, UnitData(known=True, state="disabled"))) == 1


def test_clocks_that_somebody_let_go_are_locked_again(a100: ClocksData) -> None:
    with ctx_host.use(Node(Unit=ON, Live=LIVE, Clocks=a100)):
        (change,) = operations.gpus_set._inner(  # type: ignore[attr-defined]
            unit="u.service",
            wanted={},
            modules=[],
            start=True,
            after=earlier(changed=False),
            locked={"graphics": (210, 1200)},
        )
    assert "restart" in str(change)
    assert change.lasting == ("locked clocks stay until the next boot",)
    assert not change.counts  # a plan does not rest on where a clock is at the moment


def test_a_gpu_that_came_with_this_apply_is_asked_before_it_is_locked(a100: ClocksData) -> None:
    with pytest.raises(OperationError, match="has no clock of 1980 MHz"):
        set_to([1980], a100)


# What is proven


def proven(settings: Settings, clocks: ClocksData) -> None:
    checks.test_clocks_locked_as_asked(settings, clocks)


def test_check_passes_on_what_is_right(a100: ClocksData) -> None:
    proven(Settings(graphics_clocks_mhz=[1200, 1410], memory_clocks_mhz=[1593]), a100)


def test_check_fails_on_what_is_not(a100: ClocksData, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="graphics clock is 1275 MHz, not 210 to 1200"):
        proven(Settings(graphics_clocks_mhz=[210, 1200]), a100)
    with pytest.raises(AssertionError, match="graphics clock is 1275 MHz, not 1410 to 1410"):
        proven(Settings(graphics_clocks_mhz=[1410]), a100)
    gone = read(tmp_path, A100.replace("<graphics_clock>1275 MHz", "<graphics_clock>N/A"))
    with pytest.raises(AssertionError, match="could not look: 00000000:01:00"):
        proven(Settings(graphics_clocks_mhz=[1410]), gone)
    with pytest.raises(AssertionError, match="names no GPU"):
        proven(Settings(graphics_clocks_mhz=[1410]), ClocksData())


def test_check_is_skipped_where_something_slows_a_gpu(tmp_path: Path) -> None:
    capped = A100.replace("sw_power_cap>Not Active<", "sw_power_cap>Active<")
    found = read(tmp_path, capped)
    with pytest.raises(pytest.skip.Exception, match="1275 MHz: sw_power_cap"):
        proven(Settings(graphics_clocks_mhz=[1410]), found)
    with pytest.raises(AssertionError, match="not 210 to 1200"):
        proven(Settings(graphics_clocks_mhz=[210, 1200]), found)
