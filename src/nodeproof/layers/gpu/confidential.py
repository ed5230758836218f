"""Confidential computing on GPUs, as a guest sees it.

Its mode is set on the host, before the GPU goes to the guest. Sources: NVIDIA's deployment guides
(docs.nvidia.com/confidential-computing, github.com/NVIDIA/nvtrust), Google's guide for confidential
virtual machines with GPUs, and the driver's README for the open modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.layers.gpu.facts import DAEMON, SMI_TIMEOUT_S

KEEPS = "--uvm-persistence-mode"
"""Has the daemon keep the session with the GPU while nobody computes."""
CRYPTO = "softdep nvidia pre: ecdsa_generic ecdh"
"""The driver agrees on keys with the GPU when it is loaded, by means of these."""

_SMI = f"LC_ALL=C timeout -k 5 {SMI_TIMEOUT_S} nvidia-smi conf-compute"
_COMMAND = (
    f"pid=$(systemctl show -P MainPID -- {DAEMON} 2>/dev/null); "
    '[ "${pid:-0}" = 0 ] || { printf daemon=; tr "\\0" " " <"/proc/$pid/cmdline"; echo; }; '
    "[ -r /proc/driver/nvidia/version ] || exit 0; "
    f'for ask in -q -d; do {_SMI} "$ask" 2>&1 </dev/null | sed "s/^/said=/"; done; true'
)


@dataclass(frozen=True)
class ConfidentialData:
    """What the driver says of it."""

    daemon: str = ""
    """The command line of the persistence daemon; empty where none runs."""
    said: Mapping[str, str] = field(default_factory=dict)
    """As nvidia-smi conf-compute has it, e.g. CC State to ON."""

    @property
    def why_open(self) -> str:
        """Why GPUs are not confidential, or nobody could say; empty where they are."""
        state = self.said.get("CC State")
        # Several GPUs with their NVSwitches are protected by another mode, and say OFF here.
        together = self.said.get("Multi-GPU Mode") == "Protected PCIe"
        if state is None:
            told = "; ".join(f"{key}: {value}" for key, value in self.said.items())
            return f"nvidia-smi names no CC State: {told[:200] or 'it says nothing'}"
        if state != "ON" and not together:
            return f"CC State is {state}; the host sets it, before the GPU goes to the guest"
        tools = self.said.get("DevTools Mode")
        return "" if tools == "OFF" else f"DevTools Mode is {tools or 'unknown'}"

    @property
    def ready(self) -> bool:
        """Whether GPUs take work."""
        return self.said.get("CC GPUs Ready State", "").lower() == "ready"

    @property
    def kept(self) -> bool:
        """Whether the session with the GPU outlives those who compute."""
        return KEEPS in self.daemon.split()


class Confidential(FactBase[ConfidentialData]):
    """
    Whether GPUs are confidential, and whether they take work.

    .. code:: python

        ConfidentialData(daemon="/usr/bin/nvidia-persistenced ...", said={"CC State": "ON", ...})
    """

    called = "the GPUs' confidential mode"
    uncounted = "whoever attests them sets them ready"

    @override
    def command(self) -> str:
        """Return a script that prints ``key=value`` lines."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> ConfidentialData:
        """Return that nothing is known."""
        return ConfidentialData()

    @override
    def process(self, output: list[str]) -> ConfidentialData:
        """Parse the lines; what is said is again ``key : value``."""
        daemon, said = "", {}
        for line in output:
            key, _, value = line.partition("=")
            if key == "daemon":
                daemon = value.strip()
            elif value.strip():
                name, _, state = value.partition(":")
                said[name.strip()] = state.strip()
        return ConfidentialData(daemon, said)
