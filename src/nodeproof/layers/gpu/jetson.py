"""What a Jetson is set to; its driver comes with its image.

Sources: NVIDIA's Jetson Linux developer guide, the head of its nvpmodel configurations, and what
NVIDIA's own `nvpmodel` and `jetson_clocks` print.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyinfra.api import FactBase
from typing_extensions import override

CONF = "/etc/nvpmodel.conf"
STATUS = "/var/lib/nvpmodel/status"
"""Where nvpmodel keeps the mode that it sets at boot: ``pmode:0002``."""

_COMMAND = (
    "for ask in 'nvpmodel -q' 'jetson_clocks --show'; do "
    "command -v ${ask%% *} >/dev/null 2>&1 || continue; "
    'LC_ALL=C timeout -k 5 60 $ask 2>/dev/null </dev/null | sed "s/^/${ask%% *}=/"; done; '
    f"sed -n 's/^< *POWER_MODEL /model=/p' {CONF} 2>/dev/null; "
    f"sed 's/^/status=/' {STATUS} 2>/dev/null; true"
)
_MODEL = re.compile(r"\b(ID|NAME)=([A-Za-z0-9_.-]+)")
_SAVED = re.compile(r"\bpmode:(\d+)")
_RANGE = re.compile(r"(?P<what>cpu\d+|GPU)\b.* ?MinFreq=(?P<low>\d+) MaxFreq=(?P<high>\d+)")


@dataclass(frozen=True)
class JetsonData:
    """Its power mode, and whether clocks are at their highest."""

    power_mode: str = ""
    """Its name, e.g. MAXN_SUPER; empty where nobody could say."""
    mode_id: int | None = None
    modes: Mapping[str, int] = field(default_factory=dict)
    """The modes that there are, name to id."""
    saved: int | None = None
    """The id of the mode that the next boot sets; none where it is the default."""
    clocks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """cpu0, GPU... to the lowest and highest clock that they may have; cores that are off: none."""

    @property
    def free(self) -> list[str]:
        """Whose clocks go up and down."""
        return [name for name, (low, high) in self.clocks.items() if low != high]


class Jetson(FactBase[JetsonData]):
    """
    A Jetson's power mode and clocks.

    .. code:: python

        JetsonData(power_mode="25W", mode_id=1, modes={"15W": 0, "25W": 1}, saved=1,
                   clocks={"cpu0": (729600, 1344000), "GPU": (306000000, 918000000)})
    """

    called = "the Jetson's power mode and clocks"

    @override
    def command(self) -> str:
        """Return a script that prints ``program=line``."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> JetsonData:
        """Return that nobody could say."""
        return JetsonData()

    @override
    def process(self, output: list[str]) -> JetsonData:
        """Parse the lines."""
        mode, mode_id, saved, modes, clocks = "", None, None, {}, {}
        for line in output:
            program, _, said = line.partition("=")
            if program == "nvpmodel" and said.startswith("NV Power Mode:"):
                mode = said.partition(":")[2].strip()
            elif program == "nvpmodel" and mode and said.strip().isdigit():
                mode_id = int(said)
            elif program == "model":
                model = dict(_MODEL.findall(said))
                if model.get("ID", "").isdigit() and "NAME" in model:
                    modes[model["NAME"]] = int(model["ID"])
            elif program == "status" and (at := _SAVED.search(said)):
                saved = int(at[1])
            elif (found := _RANGE.match(said)) and "Online=0" not in said:
                clocks[found["what"]] = int(found["low"]), int(found["high"])
        return JetsonData(mode, mode_id, modes, saved, clocks)
