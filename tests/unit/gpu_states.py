"""States of GPUs for the tests of their judges: recorded machines, and what differs from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nodeproof.facts.gpu_state import GpuStateData
from nodeproof.facts.kernel_log import parse_events
from nodeproof.facts.nvidia_smi import parse_smi
from nodeproof.health.finding import Finding, Verdict

A100, T4 = "nvidia/a100-sxm4-80gb-mig.xml", "nvidia/t4.xml"
PRO_6000 = "nvidia/rtx-pro-6000-max-q.xml"


def state(text: str, **more: Any) -> GpuStateData:
    """Return a node's state with what nvidia-smi said of it, and an empty kernel log."""
    smi = parse_smi(text)
    versions = dict.fromkeys(("loaded", "library", "nvidia-smi", "on-disk"), (smi.driver,))
    addresses = tuple(gpu.address for gpu in smi.gpus)
    return replace(
        GpuStateData(nvidia=addresses, smi=smi, events=(), log_source="journal", versions=versions),
        **more,
    )


def log(text: str) -> tuple[Any, ...]:
    return tuple(parse_events(text.splitlines()))


def sentences(findings: tuple[Finding, ...], verdict: Verdict = Verdict.FAILED) -> list[str]:
    return [one.sentence for one in findings if one.verdict is verdict]
