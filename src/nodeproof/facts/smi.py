"""The state of NVIDIA GPUs, as their own tool tells it: the shape of what was read.

None is never 0: it stands where a product has no such thing, where a driver does not tell it (yet,
or any more), and where it could not be read; then the field's path is in `SmiGpu.unreadable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pcie:
    """A GPU's link to its host."""

    generation: int | None = None
    generation_max: int | None = None
    """Of GPU and slot together."""
    generation_max_device: int | None = None
    width: int | None = None
    """Lanes."""
    width_max: int | None = None
    replays: int | None = None


@dataclass(frozen=True)
class Ecc:
    """Memory errors: since the driver was loaded (volatile), and of a whole life (aggregate)."""

    on: bool | None = None
    pending: bool | None = None
    """What it will be after the next reset."""
    volatile_corrected: int | None = None
    volatile_uncorrected: int | None = None
    aggregate_corrected: int | None = None
    aggregate_uncorrected: int | None = None
    sram_threshold_exceeded: bool | None = None


@dataclass(frozen=True)
class Repair:
    """How a GPU's memory was mended: rows remapped (Ampere and later) or pages retired."""

    rows_corrected: int | None = None
    rows_uncorrected: int | None = None
    rows_pending: bool | None = None
    rows_failed: bool | None = None
    banks: Mapping[str, int] = field(default_factory=dict)
    """How many banks have how much left to remap with: max, high, partial, low, none."""
    pages_single: int | None = None
    pages_double: int | None = None
    pages_pending: bool | None = None
    repair_pending: bool | None = None
    """A memory channel or TPC waits for a reset to be repaired (Blackwell)."""
    unrepairable: bool | None = None


@dataclass(frozen=True)
class Thermals:
    """Temperatures in °C, power in W, clocks in MHz."""

    gpu: int | None = None
    gpu_slowdown: int | None = None
    """Where it slows down; drivers that give a margin instead leave it out."""
    gpu_margin: int | None = None
    """Degrees that are left until it slows down."""
    memory: int | None = None
    memory_max: int | None = None
    power: float | None = None
    power_limit: float | None = None
    power_limit_default: float | None = None
    sm_clock: int | None = None
    sm_clock_max: int | None = None


@dataclass(frozen=True)
class SmiGpu:
    """One GPU."""

    address: str
    """PCI address as /sys has it, e.g. 0000:3b:00.0."""
    uuid: str = ""
    name: str = ""
    serial: str = ""
    architecture: str = ""
    device_id: str = ""
    """Four lower-case hexadecimal digits."""
    vbios: str = ""
    gsp_firmware: str = ""
    persistence: bool | None = None
    virtualization: str = ""
    compute_mode: str = ""
    mig: bool | None = None
    mig_devices: int = 0
    memory_mib: int | None = None
    performance_state: str = ""
    recovery: str | None = None
    """What the driver asks for, e.g. Reset; empty where it asks for nothing, None if unknown."""
    fabric_state: str | None = None
    fabric_status: str | None = None
    fabric_troubles: tuple[str, ...] = ()
    pcie: Pcie = Pcie()
    ecc: Ecc = Ecc()
    repair: Repair = Repair()
    thermals: Thermals = Thermals()
    slowed_by: tuple[str, ...] = ()
    """Reasons that slow its clocks now, e.g. hw_thermal_slowdown."""
    slowdown_us: Mapping[str, int] = field(default_factory=dict)
    """Microseconds that it was slowed down for each reason, where the driver counts them."""
    unreadable: tuple[str, ...] = ()
    """Fields that the tool could not read, with what it said."""

    @property
    def called(self) -> str:
        """PCI address and UUID, as reports name it."""
        return f"GPU {self.address}" + (f" ({self.uuid})" if self.uuid else "")


@dataclass(frozen=True)
class Smi:
    """All of what it said."""

    driver: str
    cuda: str
    attached: int
    gpus: tuple[SmiGpu, ...]
