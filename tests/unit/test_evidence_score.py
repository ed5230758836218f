"""Scores: an item is as good as its worst control on its worst node, and says what it is."""

from __future__ import annotations

import pytest
import samples
from samples import checks, node, verified

from nodeproof.engine.outcome import exit_code
from nodeproof.engine.result import Command, Node, NodeStatus, Result, Score, Verdict
from nodeproof.errors import Exit, UsageError
from nodeproof.evidence.controls import controls
from nodeproof.evidence.coverage import Proof, coverage, proofs
from nodeproof.evidence.score import applies, only, scored, serves

DEBIAN = "cis_debian13"
ROOT, CLOCK = "5.1.21", "2.3.3.1"
"""What NP-SSH-01 and NP-SYS-03 serve there, and nothing else does."""


def score(*nodes: Node, standard: str = DEBIAN) -> Score:
    found = {one.standard: one for one in scored(samples.result(Command.VERIFY, *nodes)).scores}
    return found[standard]


def test_everything_holds() -> None:
    found = score(verified("a", checks()))
    assert {ROOT, CLOCK, "1.3.1.3", "5.1.6"} < {*found.passed}
    assert found.excepted == found.failed == found.unseen == found.not_applicable == []
    assert found.applicable == len(found.passed)
    assert found.automated == len(controls().automated(DEBIAN)) == 316
    # 2.3.3.3 is served, and the source has no rule for it
    assert found.looked_at == len(found.passed) - 1


def test_items_are_of_what_was_looked_at_alone() -> None:
    found = score(verified("a", [samples.check(4)]))
    assert found.passed == [ROOT]


@pytest.mark.parametrize(
    ("verdict", "looked", "where"),
    [
        (Verdict.FAILED, True, "failed"),
        (Verdict.FAILED, False, "unseen"),
        (Verdict.EXCEPTED, True, "excepted"),
        (Verdict.SKIPPED, True, "not_applicable"),
        (Verdict.PASSED, True, "passed"),
    ],
)
def test_where_an_item_is_counted(verdict: Verdict, looked: bool, where: str) -> None:
    proofs = checks()
    proofs[4] = samples.check(4, verdict, "why").model_copy(update={"looked": looked})
    found = score(verified("a", proofs), verified("b", [proofs[4]]))
    lists = ("passed", "excepted", "failed", "unseen", "not_applicable")
    assert [name for name in lists if ROOT in getattr(found, name)] == [where]


def test_the_worst_node_decides() -> None:
    good, bad = verified("a", checks()), verified("b", checks({4: "no"}))
    for nodes in ((good, bad), (bad, good)):
        assert ROOT in score(*nodes).failed


def test_what_is_skipped_in_part_holds() -> None:
    found = score(verified("a", checks(skipped={6: "OpenSSH has none of them"})))
    assert "5.1.6" in found.passed


def test_a_node_that_cannot_be_reached_leaves_everything_unseen() -> None:
    found = score(verified("a", checks()), samples.unreachable("b"))
    assert found.passed == []
    assert ROOT in found.unseen
    alone = scored(samples.result(Command.VERIFY, samples.unreachable("b")))
    assert alone.scores == []


def test_a_parameter_that_is_otherwise_is_not_held_whole() -> None:
    relaxed = samples.PTRACE.model_copy(update={"control": "NP-SSH-01"})
    proven = verified("a", checks()).model_copy(update={"exceptions": [relaxed]})
    assert proofs(proven)["NP-SSH-01"] is Proof.EXCEPTED
    assert ROOT in score(proven).excepted
    ended = relaxed.model_copy(update={"expired": True})
    assert ROOT in score(proven.model_copy(update={"exceptions": [ended]})).passed
    failed = verified("a", checks({4: "no"})).model_copy(update={"exceptions": [relaxed]})
    assert ROOT in score(failed).failed


def test_an_exception_of_the_inventory_that_is_not_needed_takes_nothing() -> None:
    proven = verified("a", checks()).model_copy(update={"exceptions": [samples.OWN]})
    assert ROOT in score(proven).passed


# What a standard is about


@pytest.mark.parametrize(
    ("standard", "os_id", "version", "wanted"),
    [
        ("cis_debian13", "debian", "13", True),
        ("cis_debian13", "debian", "12", False),
        ("cis_ubuntu2404", "ubuntu", "24.04", True),
        ("stig_rhel9", "rocky", "9.6", True),
        ("cis_rhel10", "rocky", "9.6", False),
        ("cis_debian13", "plan9", "4", False),
        ("hipaa", "plan9", "4", True),
    ],
)
def test_a_standard_is_about_a_distribution(
    standard: str, os_id: str, version: str, wanted: bool
) -> None:
    assert applies(standard, os_id, version) is wanted


def test_nodes_of_another_distribution_do_not_count() -> None:
    facts = {**samples.FACTS, "os_version": "12"}
    other = verified("b", checks({4: "no"})).model_copy(update={"facts": facts})
    assert ROOT in score(verified("a", checks()), other).passed
    assert "5.1.20" in score(verified("a", checks()), other, standard="cis_debian12").failed
    keys = {one.standard for one in scored(samples.proven()).scores}
    assert DEBIAN in keys
    assert not {key for key in keys if key.startswith(("cis_ubuntu", "cis_rhel", "stig_"))}


def test_who_serves_what() -> None:
    assert serves(["NP-SYS-02", "NP-SSH-01"], [DEBIAN])
    assert not serves(["NP-SYS-02"], [DEBIAN])
    assert not serves(["NP-SSH-01"], [])
    assert not serves(["NP-ZZZ-01"], [DEBIAN])


# A part of a result


def test_only_what_serves_a_standard_is_left() -> None:
    part = only(samples.excepted(), [DEBIAN])
    names = {check.name for node in part.nodes for check in node.checks}
    assert "test_root_login_refused" in names
    assert "test_time_zone" not in names
    assert part.standards == [DEBIAN]
    assert [one.standard for one in part.scores] == [DEBIAN]
    assert part.nodes[0].reason == f"1 of {len(part.nodes[0].checks)} checks failed"


def test_a_failure_elsewhere_is_no_failure_of_the_standard() -> None:
    """NP-SYS-02 serves no standard."""
    whole = samples.result(Command.VERIFY, verified("a", checks({1: "it is Mars"})))
    part = only(whole, [DEBIAN])
    assert exit_code(whole) is Exit.FAILED
    assert exit_code(part) is Exit.DONE
    assert part.nodes[0].reason == ""
    assert only(whole, []) is whole


def test_what_has_other_troubles_keeps_them() -> None:
    part = only(samples.result(Command.VERIFY, samples.unreachable("a")), [DEBIAN])
    assert part.nodes[0].status is NodeStatus.UNREACHABLE
    assert part.nodes[0].reason


def test_a_standard_of_another_distribution_leaves_nothing() -> None:
    part = only(samples.proven(), ["cis_rhel9"])
    assert all(node.checks == [] for node in part.nodes)
    assert part.scores == []


@pytest.mark.parametrize("command", [one for one in Command if one is not Command.VERIFY])
def test_only_verify_proves(command: Command) -> None:
    with pytest.raises(UsageError, match="--standard: the result is of"):
        only(samples.result(command, node("a", NodeStatus.OK)), [DEBIAN])


# What reports say of it


def matrix(result: Result) -> dict[str, str]:
    return {one.id: one.said for one in coverage(result.nodes)}


def test_controls_say_what_they_came_to() -> None:
    said = matrix(samples.excepted())
    assert said["NP-SSH-01"] == "excepted on 1"
    assert said["NP-SSH-02"] == "could not look on 1"
    assert said["NP-SYS-03"] == "failed on 1"
    assert said["NP-SSH-03"] == "passed"


def test_a_check_that_is_excepted_is_no_failure() -> None:
    proofs = checks()
    proofs[4] = samples.check(4, Verdict.EXCEPTED, samples.REASON)
    assert exit_code(samples.result(Command.VERIFY, verified("a", proofs))) is Exit.DONE
