"""What only the gpu layer does to a node."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError, QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.facts.boot import NOTES, Boot, BootData
from nodeproof.facts.systemd import PENDING, Unit, UnitData
from nodeproof.layers.gpu.clocks import Clocks, ClocksData, Ranges, astray, impossible
from nodeproof.layers.gpu.facts import UNDIVIDED, GpuValues, Live, LiveDriver
from nodeproof.layers.gpu.jetson import STATUS, Jetson, JetsonData
from nodeproof.operations import journal, systemd
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes
from nodeproof.scripts import script

_POWER_MODE = script("jetson-power-mode.sh")


@operation()
def service(unit: str, start: bool, enabled: bool = True) -> Generator[Change]:
    """
    Make a unit start at boot, and run now where it can; or neither.

    + unit: its name with suffix
    + start: whether it can run now; otherwise it is left as it is
    + enabled: whether it starts at boot; where it does not, it is stopped, too

    **Example:**

    .. code:: python

        operations.service(name="Start the daemon", unit="nvidia-persistenced.service", start=True)
    """

    now: UnitData = host.get_fact(Unit, unit=unit)
    if not enabled and not now.known:
        host.noop(f"there is no {unit}")
        return
    running = now.active if enabled and not start else enabled
    yield from systemd.unit._inner(unit=unit, running=running, enabled=enabled)


@operation()
def loaded(modules: Sequence[str]) -> Generator[Change]:
    """
    Make kernel modules be loaded now.

    + modules: their names

    **Example:**

    .. code:: python

        operations.loaded(name="Load modules", modules=["nvidia-peermem"])
    """

    live: LiveDriver = host.get_fact(Live, modules=",".join(modules))
    missing = [name for name in modules if name not in live.modules]
    if not missing:
        host.noop("all modules are loaded")
    for name in missing:
        yield Change(
            "modprobe --", QuoteString(name), touches=[Item(Kind.MODULE, name.replace("-", "_"))]
        )


@operation()
def gpus_set(
    unit: str,
    wanted: Mapping[str, str],
    modules: Sequence[str],
    start: bool,
    after: OperationMeta,
    locked: Ranges | None = None,
) -> Generator[Change]:
    """
    Make GPUs be set as asked, at every boot and now where the driver runs.

    + unit: the unit that sets them
    + wanted: fields of `GpuValues` to what each GPU must have
    + modules: as they are asked about elsewhere, so that one look is enough
    + start: whether the driver runs, so that GPUs can be set now
    + after: the operation that writes the unit, with ``notify=`` the unit
    + locked: graphics or memory to the lowest and highest clock

    **Example:**

    .. code:: python

        operations.gpus_set(name="Set the GPUs", unit="nodeproof-gpu.service",
                            wanted={"compute_mode": "Default"}, modules=[], start=True, after=unit)
    """

    now: UnitData = host.get_fact(Unit, unit=unit)
    live: LiveDriver = host.get_fact(Live, modules=",".join(modules))
    wrong = [one.address for one in live.gpus if not as_asked(one, wanted)]
    strays = _strays(locked) if locked and start and live.loaded else []
    stale = now.pending or changes(after)
    right = now.enabled and not stale and not (start and (wrong or not now.active))
    if right and not strays:
        host.noop("GPUs are as asked" if start else "they are set at boot")
        return
    yield _taken_up(
        unit,
        now=start,
        lasting=["locked clocks stay until the next boot"] if locked and start else [],
        counts=not right,
    )


def _taken_up(unit: str, *, now: bool = True, **more: Any) -> Change:
    """Make systemd read a unit, run it at boot, and now where it can."""
    return Change(
        "systemctl daemon-reload &&",
        systemd.asked("enable", unit),
        "&&",
        *([systemd.asked("restart", unit), "&&"] if now else []),
        "rm -f --",
        QuoteString(f"{PENDING}/{unit}"),
        touches=[journal.unit(unit), *([Item(Kind.TOLD, unit)] if now else [])],
        **more,
    )


@operation()
def power_mode(mode: str, unit: str) -> Generator[Change]:
    """
    Make a Jetson be in a power mode, now or where only a boot brings it from the next boot on.

    + mode: its name in /etc/nvpmodel.conf
    + unit: the unit that holds clocks up; it runs again afterwards where it ran

    **Example:**

    .. code:: python

        operations.power_mode(name="Set the power mode", mode="MAXN_SUPER",
                              unit="nodeproof-jetson-clocks.service")
    """

    now: JetsonData = host.get_fact(Jetson)
    boot: BootData = host.get_fact(Boot)
    wanted = now.modes.get(mode)
    if wanted is None or now.mode_id is None:
        raise OperationError(f"gpu.power_mode: nvpmodel knows no mode {mode}, or says none")
    reason = f"power mode {mode} comes with a boot"
    waits = reason in boot.notes and now.saved == wanted
    if waits or (now.power_mode == mode and now.saved in (None, wanted)):
        host.noop(reason if waits else f"the power mode is {mode}")
        return
    note = f"{NOTES}/jetson-power-mode"
    probe = "nvpmodel -q 2>/dev/null | tail -n 1"
    undo = f"printf 'no\\n' | nvpmodel -m {now.mode_id}"
    yield Change(
        *("sh -c", _POWER_MODE, "sh", QuoteString(str(wanted)), QuoteString(unit)),
        *(QuoteString(note), QuoteString(reason)),
        touches=[  # taken back from the last on: nvpmodel writes its status, too
            *map(journal.file, (STATUS, note)),
            Item(Kind.CUSTOM, f"power mode\t{probe}\t{undo}"),
        ],
    )


@operation()
def clocks_held(unit: str, after: OperationMeta) -> Generator[Change]:
    """
    Make a Jetson's clocks be held up at every boot and now.

    + unit: the unit that holds them
    + after: the operation that writes the unit, with ``notify=`` the unit

    **Example:**

    .. code:: python

        operations.clocks_held(name="Hold the clocks up", after=written,
                               unit="nodeproof-jetson-clocks.service")
    """

    now: UnitData = host.get_fact(Unit, unit=unit)
    has: JetsonData = host.get_fact(Jetson)
    stale = now.pending or changes(after)
    if now.enabled and now.active and not stale and not has.free:
        host.noop("clocks are held up")
        return
    yield _taken_up(unit)


def _strays(locked: Ranges) -> list[str]:
    """Return which clocks are not locked; raises OperationError where they cannot be."""
    has: ClocksData = host.get_fact(Clocks)
    if wrong := has.trouble or impossible(locked, has.gpus):
        raise OperationError(f"gpu.gpus_set: {wrong}")
    return astray(locked, has.gpus)


def as_asked(gpu: GpuValues, wanted: Mapping[str, str]) -> bool:
    """Tell whether a GPU is set as asked, also where that takes effect at the next reset."""
    has = {
        "compute_mode": gpu.compute_mode,
        "power_limit": gpu.power_limit.partition(".")[0],
        "ecc_pending": gpu.ecc_pending,
        "mig": gpu.mig,
    }
    if gpu.mig_pending:
        comes = (gpu.mig_pending == "Disabled") is (wanted.get("mig") == UNDIVIDED)
        has["mig"] = wanted.get("mig", "") if comes else f"{gpu.mig_pending} by a reset"
    return all(has[name] == value for name, value in wanted.items())
