"""What GPUs are set to, in the words of nvidia-smi; both the deed and the proof use them."""

from __future__ import annotations

from nodeproof.layers.gpu.facts import UNDIVIDED
from nodeproof.layers.gpu.settings import Settings

# As `nvidia-smi -c` takes them, and as it tells them; source: nvidia-smi(1).
_COMPUTE_MODES = {
    "default": ("DEFAULT", "Default"),
    "exclusive-process": ("EXCLUSIVE_PROCESS", "Exclusive_Process"),
    "prohibited": ("PROHIBITED", "Prohibited"),
}


def wanted_values(settings: Settings) -> dict[str, str]:
    """Return which fields of a GPU must have which value."""
    wanted = {}
    if settings.mig is not None:
        wanted["mig"] = " ".join(sorted(settings.instances)) or UNDIVIDED
    if settings.compute_mode is not None:
        wanted["compute_mode"] = _COMPUTE_MODES[settings.compute_mode][1]
    if settings.power_limit_w is not None:
        wanted["power_limit"] = str(settings.power_limit_w)
    if settings.ecc is not None:
        wanted["ecc_pending"] = "Enabled" if settings.ecc else "Disabled"
    return wanted


def wanted_commands(settings: Settings) -> list[str]:
    """Return what nvidia-smi is told at boot, a call each; source: nvidia-smi(1)."""
    told = []
    if settings.compute_mode is not None:
        told.append(f"-c {_COMPUTE_MODES[settings.compute_mode][0]}")
    if settings.power_limit_w is not None:
        told.append(f"-pl {settings.power_limit_w}")
    if settings.ecc is not None:
        told.append(f"-e {int(settings.ecc)}")
    for letter, asked in (("g", settings.graphics_clocks_mhz), ("m", settings.memory_clocks_mhz)):
        if asked:
            told.append(f"-l{letter}c {asked[0]},{asked[-1]}")
        elif asked is not None:
            told.append(f"-r{letter}c")
    return told
