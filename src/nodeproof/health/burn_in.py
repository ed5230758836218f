"""The burn-in of a node's GPUs: the program that is sent there, and what its figures are worth."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from nodeproof.catalog.gpu_health import Expectation, GpuHealth, gpu_health
from nodeproof.health.finding import (
    NODE,
    Finding,
    Topic,
    could_not_look,
    held,
    noted,
    skipped,
)

PARTS = ("kernels", "gpu", "main")
SCHEMA = "nodeproof/burn-in/1"
GIGATRANSFERS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0}
"""Of a PCIe lane, by generation; source: PCI Express Base Specification 5.0."""
STEADY = 0.8
"""Share of the mean that the slowest tenth of a run has where nothing slows the GPU down."""
REPLACE = "drain the node, run the vendor's field diagnostics, and have the GPU replaced"
SLOW = "look at clocks, power limits and temperatures while it works, and at other work on the GPU"

_TOPIC = Topic.BURN_IN
_IMPORTS = re.compile(r"^from (?:nodeproof\S*|__future__) import (?:\([^)]*\)|[^\n(]*)\n", re.M)


def program() -> str:
    """Return the program as one text, for ``python3 -I -c TEXT --seconds 10`` on a node."""
    folder = files("nodeproof") / "node" / "burn_in"
    parts = [(folder / f"{part}.py").read_text(encoding="utf-8") for part in PARTS]
    return "from __future__ import annotations\n\n" + "\n".join(
        _IMPORTS.sub("", part.partition('"""\n\n')[2]) for part in parts
    )


def judge_burn_in(
    lines: Iterable[str], gpus: Sequence[str], *, table: GpuHealth | None = None
) -> tuple[Finding, ...]:
    """Return what the program's lines say; `gpus` are the PCI addresses that must be among them.

    A line that is no result, and a GPU without one, are failures.
    """
    table = table or gpu_health()
    findings: list[Finding] = []
    seen = set()
    for text in filter(str.strip, lines):
        line = _parsed(text)
        if line is None:
            said = f"{text.strip()[:200]!r}"
            findings.append(could_not_look(_TOPIC, NODE, "a line of the burn-in", said))
        elif "gpu" in line:
            seen.add(str(line["gpu"].get("address", "")))
            findings += _gpu(line, table)
        else:
            why = str(line.get("error", "it said nothing"))
            findings.append(could_not_look(_TOPIC, NODE, "the burn-in", why, "mend the driver"))
    for address in gpus:
        if address not in seen:
            why = "it gave no result for this GPU"
            findings.append(could_not_look(_TOPIC, f"GPU {address}", "the burn-in", why))
    return tuple(findings)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.get("schema") == SCHEMA else None


def _gpu(line: Mapping[str, Any], table: GpuHealth) -> Iterator[Finding]:
    gpu = line["gpu"]
    subject = f"GPU {gpu.get('address')} ({gpu.get('uuid')})"
    product = table.product(str(gpu.get("device_id", "")))
    if not line.get("ok"):
        why = str(line.get("error")) or "failed"
        yield held(_TOPIC, subject, "the burn-in", why, "no error", good=False, action=REPLACE)
    for result in line.get("results", ()):
        yield from _result(subject, result, product, table)


def _result(
    subject: str, result: Mapping[str, Any], product: Expectation | None, table: GpuHealth
) -> Iterator[Finding]:
    name = str(result.get("name"))
    if name == "memory":
        yield held(_TOPIC, subject, "memory", f"right in {result.get('gib')} GiB", good=True)
        return
    value, unit = result.get("gb_s"), "GB/s"
    if value is None:
        value, unit = result.get("tflops"), "TFLOP/s"
    if not isinstance(value, int | float):
        yield could_not_look(_TOPIC, subject, name, f"no figure in {dict(result)}")
        return
    least = _least(name, result, product, table)
    if least is None:
        yield skipped(_TOPIC, subject, name, f"{value:g} {unit}, with no figure to hold it against")
    else:
        good, wanted = value >= least, f"{least:.4g} {unit} or more"
        yield held(_TOPIC, subject, name, f"{value:g} {unit}", wanted, good=good, action=SLOW)
    slowest = result.get("slowest")
    if isinstance(slowest, int | float) and slowest < STEADY * value:
        said = f"{slowest:g} {unit} in the slowest tenth of {value:g}"
        yield noted(_TOPIC, subject, f"steadiness of {name}", said, f"{STEADY:.0%} of the mean")


def _least(
    name: str, result: Mapping[str, Any], product: Expectation | None, table: GpuHealth
) -> float | None:
    """Return the least that a figure may be; None where nothing is known of it."""
    if product is None or result.get("by") == "ptx":
        return None
    lane = GIGATRANSFERS.get(product.pcie_generation or 0)
    link = lane * product.pcie_width / 8 * 128 / 130 if lane else None
    peaks = {
        "device-to-device": (product.memory_gb_s, table.allowances.memory),
        "host-to-device": (link, table.allowances.link),
        "device-to-host": (link, table.allowances.link),
        "vector": (product.fp32_tflops, table.allowances.vector),
        "matrix-fp32": (product.fp32_tflops, table.allowances.vector),
        "matrix-bf16": (product.bf16_tflops, table.allowances.matrix),
    }
    peak, share = peaks.get(name, (None, 0.0))
    return None if peak is None else peak * share
