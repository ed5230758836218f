"""What a result comes to for each standard, by the items that our controls serve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache

from nodeproof.catalog.distributions import (
    UnsupportedDistributionError,
    distribution,
    distributions,
)
from nodeproof.engine.result import Command, Node, NodeStatus, Result, Score, Verdict
from nodeproof.errors import UsageError
from nodeproof.evidence.controls import controls
from nodeproof.evidence.coverage import Proof, proofs
from nodeproof.evidence.standards import natural

_FIELDS = {
    Proof.FAILED: "failed",
    Proof.BLIND: "unseen",
    Proof.EXCEPTED: "excepted",
    Proof.PARTLY: "passed",  # what was skipped does not apply
    Proof.PASSED: "passed",
    Proof.SKIPPED: "not_applicable",
}
"""From the worst, which decides, to where an item is counted."""
_BLIND = (NodeStatus.UNREACHABLE, NodeStatus.REFUSED)


@cache
def applies(standard: str, os_id: str, os_version: str) -> bool:
    """Tell whether a standard is about nodes of a distribution."""
    key = controls().standards[standard].distribution
    if not key:
        return True
    try:
        return distribution(os_id, os_version) is distributions()[key]
    except UnsupportedDistributionError:
        return False


def serves(ids: Iterable[str], standards: Collection[str]) -> bool:
    """Tell whether one of some controls serves one of some standards."""
    known = controls()
    return any(key in known[one].maps for one in ids if one in known for key in standards)


def scored(result: Result) -> Result:
    """Return a result of verify with its scores."""
    chosen = result.standards or list(controls().standards)
    return result.model_copy(update={"scores": list(_scores(result, chosen))})


def only(result: Result, standards: Collection[str]) -> Result:
    """Return the part of a result of verify that is about some standards; raises UsageError."""
    if not standards:
        return result
    if result.command is not Command.VERIFY:
        raise UsageError(
            f"--standard: the result is of {result.command}, and only verify proves anything",
            hint="name a run of verify",
        )
    nodes = [_only(node, standards) for node in result.nodes]
    return scored(result.model_copy(update={"nodes": nodes, "standards": list(standards)}))


def _only(node: Node, standards: Collection[str]) -> Node:
    here = _applying(node, standards)
    checks = [check for check in node.checks if serves(check.controls, here)]
    update: dict[str, object] = {
        "checks": checks,
        "exceptions": [one for one in node.exceptions if serves([one.control], here)],
    }
    if node.checks and node.status in (NodeStatus.OK, NodeStatus.FAILED):
        failed = sum(check.verdict is Verdict.FAILED for check in checks)
        update["status"] = NodeStatus.FAILED if failed else NodeStatus.OK
        update["reason"] = f"{failed} of {len(checks)} checks failed" if failed else ""
    return node.model_copy(update=update)


def _applying(node: Node, standards: Iterable[str]) -> list[str]:
    os_id, version = (str(node.facts.get(key, "")) for key in ("os_id", "os_version"))
    return [standard for standard in standards if applies(standard, os_id, version)]


def _scores(result: Result, standards: Iterable[str]) -> Iterator[Score]:
    unseen = any(node.status in _BLIND for node in result.nodes)
    looked = [(node, proofs(node)) for node in result.nodes if node.status not in _BLIND]
    for standard in standards:
        here = (found for node, found in looked if _applying(node, [standard]))
        found = _items(here, standard, unseen=unseen)
        if not found:
            continue
        placed: defaultdict[str, list[str]] = defaultdict(list)
        for item, seen in found.items():
            worst = next(proof for proof in _FIELDS if proof in seen)
            placed[_FIELDS[worst]].append(item)
        automated = controls().automated(standard)
        yield Score(
            standard=standard,
            title=controls().standards[standard].title,
            looked_at=len(found.keys() & set(automated)),
            automated=len(automated),
            **{name: sorted(placed[name], key=natural) for name in {*_FIELDS.values()}},
        )


def _items(
    nodes: Iterable[Mapping[str, Proof]], standard: str, *, unseen: bool
) -> dict[str, set[Proof]]:
    """Return the items that were looked at on some node, each with what it came to on the nodes.

    A node that could not be looked at leaves all of them unseen.
    """
    found: defaultdict[str, set[Proof]] = defaultdict(set)
    for proven in nodes:
        for control, proof in proven.items():
            known = controls().get(control)
            for item in known.maps.get(standard, ()) if known else ():
                found[item].add(proof)
    for seen in found.values() if unseen else ():
        seen.add(Proof.BLIND)
    return dict(found)
