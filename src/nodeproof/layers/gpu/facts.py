"""What the gpu layer alone needs to know of a node."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.facts.modules import same_value
from nodeproof.facts.systemd import PENDING

SMI_TIMEOUT_S = 60
_FIELDS = "pci.bus_id,compute_mode,power.limit,ecc.mode.current,ecc.mode.pending"
_MIG_FIELDS = "pci.bus_id,index,mig.mode.current,mig.mode.pending"
UNITS = "/etc/systemd/system"
DAEMON = "nvidia-persistenced.service"
DROPIN = f"{UNITS}/{DAEMON}.d/nodeproof.conf"
READY = "nodeproof-gpu-ready.service"
_CONFIDENTIAL = f"{DROPIN} {UNITS}/{READY} {PENDING}/{DAEMON} {PENDING}/{READY}"
UNDIVIDED = "undivided"
"""What a GPU without MIG is."""
_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")


@dataclass(frozen=True)
class GpuValues:
    """What one GPU is set to, in nvidia-smi's words; what it does not have is [N/A]."""

    address: str
    compute_mode: str = ""
    power_limit: str = ""
    """W, e.g. 700.00."""
    ecc: str = ""
    ecc_pending: str = ""
    """What it will be after the next reset."""
    mig: str = ""
    """Profiles of its MIG instances, sorted, or `UNDIVIDED`; empty where nobody could say."""
    mig_pending: str = ""
    """Enabled or Disabled, where MIG will be that after the next reset and is not now."""


@dataclass(frozen=True)
class LiveDriver:
    """The driver that runs now."""

    loaded: str = ""
    """Its version; empty where no module is loaded."""
    open: bool = False
    """Whether these are the open modules."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Options of the nvidia module as the module has them, e.g. EnableGpuFirmware to 18."""
    modules: tuple[str, ...] = ()
    """Which of the modules that were asked about are loaded."""
    gpus: tuple[GpuValues, ...] = ()
    trouble: str = ""
    """Why nvidia-smi gave no values."""
    confidential: bool = False
    """Whether something of ours for a confidential guest is there; most nodes are none, and are not
    asked for each file."""


class Live(FactBase[LiveDriver]):
    """
    The driver that runs, its options, and what GPUs are set to.

    .. code:: python

        LiveDriver(loaded="580.178.04", open=True, params={"EnableMSI": "1"}, gpus=(...))
    """

    called = "the driver that runs"

    @override
    def command(self, modules: str) -> StringCommand:
        """Return a script that prints ``key=value`` lines; `modules` are names, with commas."""
        script = (
            'for m in $(echo "$1" | tr , " "); do '
            'd=$(echo "$m" | tr - _); [ -e "/sys/module/$d" ] && echo "module=$m"; done; '
            f"for f in {_CONFIDENTIAL}; do [ -e $f ] && echo confidential=; done; "
            "[ -r /proc/driver/nvidia/version ] || exit 0; "
            "sed -n '/^NVRM version/s/^/nvrm=/p' /proc/driver/nvidia/version; "
            "sed 's/^/param=/' /proc/driver/nvidia/params 2>/dev/null; "
            f"out=$(LC_ALL=C timeout -k 5 {SMI_TIMEOUT_S} nvidia-smi --query-gpu={_FIELDS} "
            "--format=csv,noheader,nounits 2>&1 </dev/null) && key=gpu || key=trouble; "
            'printf "%s\\n" "$out" | sed "s/^/$key=/"; [ "$key" = gpu ] || exit 0; '
            f"LC_ALL=C timeout -k 5 {SMI_TIMEOUT_S} nvidia-smi --query-gpu={_MIG_FIELDS} "
            "--format=csv,noheader 2>/dev/null </dev/null | sed -n '/,/s/^/mig=/p'; "
            f"LC_ALL=C timeout -k 5 {SMI_TIMEOUT_S} nvidia-smi -L 2>/dev/null </dev/null | "
            "sed -n '/^ *MIG \\|^GPU /s/^/list=/p'; true"
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(modules))

    @staticmethod
    @override
    def default() -> LiveDriver:
        """Return that none runs."""
        return LiveDriver()

    @override
    def process(self, output: list[str]) -> LiveDriver:
        """Parse the lines."""
        said: dict[str, list[str]] = {}
        for line in output:
            key, _, value = line.partition("=")
            said.setdefault(key, []).append(value)
        nvrm = " ".join(said.get("nvrm", []))
        version = _VERSION.search(nvrm)
        params = (line.partition(":") for line in said.get("param", []))
        rows = (_cells(line) for line in said.get("gpu", []))
        divided = _divided(said.get("mig", []), said.get("list", []))
        return LiveDriver(
            loaded=version[1] if version else "",
            open="Open Kernel Module" in nvrm,
            params={name.strip(): value.strip().strip('"') for name, _, value in params},
            modules=tuple(said.get("module", [])),
            gpus=tuple(_values(row, divided) for row in rows if len(row) == 5),
            trouble=" ".join(" ".join(said.get("trouble", [])).split())[:300],
            confidential="confidential" in said,
        )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",")]


def _values(row: Sequence[str], divided: Mapping[str, tuple[str, str]]) -> GpuValues:
    address, mode, limit, ecc, ecc_pending = row
    return GpuValues(address, mode, limit, ecc, ecc_pending, *divided.get(address, ("", "")))


def _divided(modes: Sequence[str], listed: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return of each GPU, by address, how it is divided, and what becomes of MIG by a reset."""
    profiles: dict[str, list[str]] = {}
    here = ""
    for line in listed:
        kind, name, *_ = [*line.split(), "", ""]
        if kind == "GPU":
            here = name.rstrip(":")
        elif kind == "MIG":
            profiles.setdefault(here, []).append(name)
    found = {}
    for address, index, current, pending in (row for row in map(_cells, modes) if len(row) == 4):
        undivided = "no instances" if current == "Enabled" else UNDIVIDED
        layout = " ".join(sorted(profiles.get(index, []))) or undivided
        found[address] = layout, pending if pending != current else ""
    return found


def option_is(params: Mapping[str, str], option: str, value: str) -> bool | None:
    """Tell whether the loaded module has an option as asked; None where it does not list it.

    The open modules list NVreg_RestrictProfilingToAdminUsers as RmProfilingAdminOnly.
    """
    name = option.removeprefix("NVreg_")
    other = {"RestrictProfilingToAdminUsers": "RmProfilingAdminOnly"}.get(name, name)
    found = params.get(name, params.get(other))
    return None if found is None else same_value(found, value)
