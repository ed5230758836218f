"""What is asked of GPUs and cannot work on this node, said before the first change."""

from __future__ import annotations

from pyinfra import host

from nodeproof.catalog.resolve.choice import Choice
from nodeproof.catalog.resolve.rules.hardware import TPU
from nodeproof.facts.accelerators import Accelerators, Platform
from nodeproof.facts.systemd import Unit, UnitData
from nodeproof.layers.gpu.clocks import Clocks, ClocksData, impossible
from nodeproof.layers.gpu.imex import Addresses
from nodeproof.layers.gpu.settings import Settings


def not_here(settings: Settings, has: Accelerators) -> str:
    """Return which host is asked about that this node is not; empty where it is."""
    if settings.jetson is not None and has.platform != "jetson":
        return "jetson: this is no Jetson; leave jetson out"
    if settings.tpu is not None and not any(gpu.vendor_id == TPU for gpu in has.gpus):
        return "tpu: there is no TPU on the PCI bus; leave tpu out"
    return ""


def why_not(settings: Settings, chosen: Choice, platform: Platform, *, asks_gpus: bool) -> str:
    """Return why what is asked cannot work, and what to do; empty where it can."""
    return (
        (_clocks(settings) if asks_gpus else "")
        or _imex(settings, chosen)
        or _confidential(settings, chosen, platform)
    )


def _clocks(settings: Settings) -> str:
    """Before a driver runs nobody can say which a GPU has: then `operations.gpus_set` refuses."""
    if not settings.locked:
        return ""
    has: ClocksData = host.get_fact(Clocks)
    return has.trouble or impossible(settings.locked, has.gpus)


def _imex(settings: Settings, chosen: Choice) -> str:
    if settings.imex is None:
        return ""
    if "imex" not in {one.id for one in chosen.companions}:
        return "imex: no GPU here is part of a rack; leave imex out"
    if settings.image is not None:
        return ""
    own: tuple[str, ...] = host.get_fact(Addresses)
    if {*own} & {*settings.imex.nodes}:
        return ""
    return (
        "imex.nodes: none of this node's addresses is among them "
        f"({' '.join(own) or 'none could be read'}); name the nodes of its own domain"
    )


def _confidential(settings: Settings, chosen: Choice, platform: Platform) -> str:
    asked = settings.confidential
    if asked is None:
        return ""
    if chosen.driver is not None and chosen.driver.modules != "open":
        return "confidential: only the open modules know it; set modules to open"
    if settings.image is None and platform != "vm":
        return (
            "confidential: this node is no guest; a host sets the mode with NVIDIA's "
            "gpu-admin-tools and hands the GPU to VFIO: set driver to none there"
        )
    if asked.attested_by is not None:
        unit: UnitData = host.get_fact(Unit, unit=asked.attested_by)
        if not unit.known:
            return (
                f"confidential.attested_by: there is no {asked.attested_by}; "
                "install what attests the GPUs first"
            )
    return ""
