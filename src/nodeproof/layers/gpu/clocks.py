"""Locked clocks: which a GPU can have, which it has now, and what is wrong with that.

No tool tells what clocks are locked to: a GPU that runs outside the range is the evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.layers.gpu.facts import SMI_TIMEOUT_S

Ranges = Mapping[str, tuple[int, int]]
"""Graphics or memory to the lowest and highest clock that is asked for, in MHz."""

# nvidia-smi says the same in its XML since long before its other forms had all of it. A GPU is
# slowed by what is "Active", idleness included; drivers before 535 called the reasons throttle.
_COMMAND = (
    "[ -r /proc/driver/nvidia/version ] || exit 0; "
    f"out=$(LC_ALL=C timeout -k 5 {SMI_TIMEOUT_S} nvidia-smi -q -x 2>&1 </dev/null) || "
    '{ printf %s "$out" | tail -n 1 | sed "s/^/trouble=/"; echo; exit 0; }; '
    'printf "%s\\n" "$out" | sed -nE \''
    's/.*<gpu id="([^"]+)">.*/gpu=\\1/p; '
    "s/.*<clocks_(event|throttle)_reason_([a-z_]+)>Active<.*/slowed=\\2/p; "
    "/<clocks>/,/<\\/clocks>/s/.*<graphics_clock>([0-9]+) MHz<.*/graphics=\\1/p; "
    "/<clocks>/,/<\\/clocks>/s/.*<mem_clock>([0-9]+) MHz<.*/memory=\\1/p; "
    "/<supported_clocks>/,/<\\/supported_clocks>/{"
    "s/.*<value>([0-9]+) MHz<.*/memory.can=\\1/p; "
    "s/.*<supported_graphics_clock>([0-9]+) MHz<.*/graphics.can=\\1/p"
    "}'"
)


@dataclass(frozen=True)
class GpuClocks:
    """One GPU's clocks in MHz, by graphics and memory."""

    address: str
    now: Mapping[str, int]
    can: Mapping[str, tuple[int, ...]]
    """Which it can be locked to, lowest first."""
    slowed: tuple[str, ...] = ()
    """Why it runs slower than it could, e.g. gpu_idle."""


@dataclass(frozen=True)
class ClocksData:
    """All GPUs' clocks, or why nobody could say."""

    gpus: tuple[GpuClocks, ...] = ()
    trouble: str = ""


class Clocks(FactBase[ClocksData]):
    """
    The clocks that GPUs have and can have; nothing where no driver is loaded.

    .. code:: python

        ClocksData(gpus=(GpuClocks("00000000:01:00.0", {"graphics": 1275, "memory": 1593}, ...),))
    """

    called = "the clocks of the GPUs"
    uncounted = "clocks follow the load"

    @override
    def command(self) -> str:
        """Return a script that prints ``key=value`` lines, a GPU's behind its address."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> ClocksData:
        """Return that there are none."""
        return ClocksData()

    @override
    def process(self, output: list[str]) -> ClocksData:
        """Parse the lines."""
        said: list[tuple[str, dict[str, list[str]]]] = []
        trouble = ""
        for line in output:
            key, _, value = line.partition("=")
            if key == "gpu":
                said.append((value, {}))
            elif key == "trouble":
                trouble = " ".join(value.split())[:300]
            elif said:
                said[-1][1].setdefault(key, []).append(value)
        return ClocksData(tuple(_clocks(address, lines) for address, lines in said), trouble)


def _clocks(address: str, said: Mapping[str, list[str]]) -> GpuClocks:
    kinds = ("graphics", "memory")
    return GpuClocks(
        address,
        {kind: int(said[kind][0]) for kind in kinds if kind in said},
        {kind: tuple(sorted(map(int, {*said.get(f"{kind}.can", ())}))) for kind in kinds},
        tuple(said.get("slowed", ())),
    )


def impossible(asked: Ranges, gpus: Sequence[GpuClocks]) -> str:
    """Return which clocks a GPU cannot be locked to, and what comes nearest; empty where it can.

    nvidia-smi takes the nearest clock instead of one that a GPU does not have, without a word.
    """
    return "; ".join(dict.fromkeys(one for gpu in gpus for one in _impossible(asked, gpu)))


def _impossible(asked: Ranges, gpu: GpuClocks) -> Iterator[str]:
    for kind, bounds in asked.items():
        can = gpu.can[kind]
        if not can:
            yield f"GPU {gpu.address} does not say to which {kind} clocks it can be locked"
        for wish in dict.fromkeys(bounds) if can else ():
            if wish not in can:
                near = sorted(sorted(can, key=lambda one: abs(one - wish))[:2])
                yield (
                    f"{kind}_clocks_mhz: GPU {gpu.address} has no clock of {wish} MHz, but "
                    f"{can[0]} to {can[-1]}; nearest are {' and '.join(map(str, near))}"
                )


def astray(asked: Ranges, gpus: Sequence[GpuClocks]) -> list[str]:
    """Return which clocks are certainly not locked as asked.

    One that is too low is not among them where the GPU says what slows it: a lock prevents no
    slowdown.
    """
    return [
        f"{gpu.address}: {kind} clock is {gpu.now[kind]} MHz, not {low} to {high}"
        for gpu, kind, low, high in _each(asked, gpus)
        if kind in gpu.now and (gpu.now[kind] > high or (gpu.now[kind] < low and not gpu.slowed))
    ]


def untold(asked: Ranges, gpus: Sequence[GpuClocks]) -> list[str]:
    """Return which clocks say nothing of the lock: they are too low, and something slows them."""
    return [
        f"{gpu.address}: {kind} clock is {gpu.now[kind]} MHz: {', '.join(gpu.slowed)}"
        for gpu, kind, low, _ in _each(asked, gpus)
        if kind in gpu.now and gpu.now[kind] < low and gpu.slowed
    ]


def unread(asked: Ranges, gpus: Sequence[GpuClocks]) -> list[str]:
    """Return which clocks nobody could read."""
    return [f"{gpu.address}: {kind}" for gpu, kind, *_ in _each(asked, gpus) if kind not in gpu.now]


def _each(asked: Ranges, gpus: Sequence[GpuClocks]) -> Iterator[tuple[GpuClocks, str, int, int]]:
    for gpu in gpus:
        for kind, (low, high) in asked.items():
            yield gpu, kind, low, high
