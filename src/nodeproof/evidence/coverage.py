"""From checks to controls: what each control came to, on each node and over all of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nodeproof.engine.result import Check, Node, Verdict
from nodeproof.evidence.controls import Control, controls


class Proof(StrEnum):
    """What a node's checks say of one control."""

    PASSED = "passed"
    FAILED = "failed"
    BLIND = "could not look"
    """Its checks broke before they could measure: as bad as failed."""
    EXCEPTED = "excepted"
    """It is not met, or not wholly, on purpose."""
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
        for proof in (Proof.FAILED, Proof.BLIND, Proof.EXCEPTED):
            if counts[proof]:
                return proof
        if len(counts) == 1:
            return self.proofs[0]
        return Proof.PARTLY

    @property
    def said(self) -> str:
        """The overall proof in words, with its nodes where they differ."""
        if self.overall in (Proof.FAILED, Proof.BLIND, Proof.EXCEPTED):
            return f"{self.overall} on {self.count(self.overall)}"
        if self.overall is Proof.PARTLY and (passed := self.count(Proof.PASSED)):
            return f"passed on {passed} of {len(self.proofs)}"
        return self.overall.value

    def serves(self, standards: Collection[str]) -> list[tuple[str, tuple[str, ...]]]:
        """The standards by name, as far as they are among some, each with the sections of it."""
        if self.control is None:
            return []
        named, maps = controls().standards, self.control.maps
        return [(named[key].name, maps[key]) for key in maps if key in standards]


def coverage(nodes: Sequence[Node]) -> list[Covered]:
    """Return every control that a check of any node names; the catalogue's order, then others."""
    found: defaultdict[str, list[Proof]] = defaultdict(lambda: [Proof.NONE] * len(nodes))
    for position, node in enumerate(nodes):
        for name, proof in proofs(node).items():
            found[name][position] = proof
    catalogue = controls()
    ordered = [name for name in catalogue if name in found]
    ordered += [name for name in found if name not in catalogue]
    return [Covered(name, catalogue.get(name), tuple(found[name])) for name in ordered]


def proofs(node: Node) -> dict[str, Proof]:
    """Return what each control that was looked at came to on one node."""
    found: defaultdict[str, list[Check]] = defaultdict(list)
    for check in node.checks:
        for name in check.controls:
            found[name].append(check)
    relaxed = {one.control for one in node.exceptions if one.parameter and not one.expired}
    return {name: _proof(checks, relaxed=name in relaxed) for name, checks in found.items()}


def unmeasured(covered: Iterable[Covered]) -> list[Control]:
    """Return the catalogue's controls that no check looked at."""
    seen = {one.id for one in covered}
    return [control for name, control in controls().items() if name not in seen]


def _proof(checks: Sequence[Check], *, relaxed: bool) -> Proof:
    """Judge by the worst check; `relaxed` is a control with a parameter that is otherwise."""
    kinds = {check.verdict for check in checks}
    if Verdict.FAILED in kinds:
        failed = (check for check in checks if check.verdict is Verdict.FAILED)
        return Proof.FAILED if any(check.looked for check in failed) else Proof.BLIND
    if Verdict.EXCEPTED in kinds or relaxed:
        return Proof.EXCEPTED
    if len(kinds) > 1:
        return Proof.PARTLY
    return Proof.PASSED if Verdict.PASSED in kinds else Proof.SKIPPED
