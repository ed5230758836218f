"""From checks to controls: what each control came to, on each node and over all of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nodeproof.engine.result import Node, Verdict
from nodeproof.evidence.controls import Control, controls


class Proof(StrEnum):
    """What a node's checks say of one control."""

    PASSED = "passed"
    FAILED = "failed"
    PARTLY = "partly"
    """Some checks passed, the others were skipped."""
    SKIPPED = "skipped"
    NONE = "not measured"


@dataclass(frozen=True)
class Covered:
    """One control with what it came to on each node, in the order of the nodes."""

    id: str
    control: Control | None
    """None where the catalogue has no such control."""
    proofs: tuple[Proof, ...]

    def count(self, proof: Proof) -> int:
        """Return the number of nodes."""
        return self.proofs.count(proof)

    @property
    def overall(self) -> Proof:
        """What it comes to over all nodes; failed and not measured anywhere weigh most."""
        counts = Counter(self.proofs)
        if counts[Proof.FAILED]:
            return Proof.FAILED
        if len(counts) == 1:
            return self.proofs[0]
        return Proof.PARTLY

    @property
    def said(self) -> str:
        """The overall proof in words, with its nodes where they differ."""
        if self.overall is Proof.FAILED:
            return f"failed on {self.count(Proof.FAILED)}"
        if self.overall is Proof.PARTLY and (passed := self.count(Proof.PASSED)):
            return f"passed on {passed} of {len(self.proofs)}"
        return self.overall.value

    @property
    def serves(self) -> list[tuple[str, tuple[str, ...]]]:
        """The standards by name, each with the sections of it."""
        if self.control is None:
            return []
        named = controls().standards
        return [(named[key].name, sections) for key, sections in self.control.maps.items()]


def coverage(nodes: Sequence[Node]) -> list[Covered]:
    """Return every control that a check of any node names; the catalogue's order, then others."""
    found: defaultdict[str, list[set[Verdict]]] = defaultdict(lambda: [set() for _ in nodes])
    for position, node in enumerate(nodes):
        for check in node.checks:
            for name in check.controls:
                found[name][position].add(check.verdict)
    catalogue = controls()
    ordered = [name for name in catalogue if name in found]
    ordered += [name for name in found if name not in catalogue]
    return [Covered(name, catalogue.get(name), tuple(map(_proof, found[name]))) for name in ordered]


def unmeasured(covered: Iterable[Covered]) -> list[Control]:
    """Return the catalogue's controls that no check looked at."""
    seen = {one.id for one in covered}
    return [control for name, control in controls().items() if name not in seen]


def _proof(kinds: set[Verdict]) -> Proof:
    if not kinds:
        return Proof.NONE
    if Verdict.FAILED in kinds:
        return Proof.FAILED
    if len(kinds) > 1:
        return Proof.PARTLY
    return Proof.PASSED if Verdict.PASSED in kinds else Proof.SKIPPED
