"""Which run is meant, what a node's program says of it, and what is made of that."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import samples

from nodeproof.cli import revert as command
from nodeproof.engine import history
from nodeproof.engine.result import ChangeStatus, Command, Node, NodeStatus
from nodeproof.engine.revert import Part, _Report
from nodeproof.errors import RefusedError, UsageError
from nodeproof.evidence import store

FIRST, SECOND, THIRD = samples.FIRST, samples.SECOND, samples.THIRD
PRINTED = (
    f"{FIRST}\tok, partly reverted\t2026-10-01T09:15:00Z\tada@control\tsystem ssh\t12\tlab.py\t"
    "abc\t\n"
    f"{SECOND}\tok\t2026-10-02T09:15:00Z\tada@control\tssh\t2\tlab.py\t\t{FIRST}\n"
    f"armed\t{SECOND}\n"
)


def on(name: str, *runs: str, **reverts: str) -> Node:
    found = [samples.a_run(run, reverts=reverts.get(f"r{run[:8]}", "")) for run in runs]
    return Node(name=name, status=NodeStatus.OK, runs=found)


def test_what_the_program_prints_is_read() -> None:
    first, second = history.parsed(PRINTED)
    assert (first.id, first.result, first.changes) == (FIRST, "ok, partly reverted", 12)
    assert first.layers == ["system", "ssh"]
    assert (second.reverts, second.settings) == (FIRST, "")
    (note,) = history.armed(PRINTED)
    assert SECOND in note
    assert history.parsed("") == history.armed("") == []


def test_a_beginning_is_enough_where_it_is_one_run() -> None:
    nodes = [on("a", FIRST, SECOND), on("b", FIRST)]
    assert history.meant(FIRST[:9], nodes) == FIRST
    assert history.meant(SECOND, nodes) == SECOND
    with pytest.raises(UsageError, match=f"2 runs begin so: {SECOND}, {FIRST}"):
        history.meant("2026", nodes)
    for word in ("2025", "", "x; reboot"):
        with pytest.raises(UsageError, match="no node has that run") as error:
            history.meant(word, nodes)
        assert FIRST in str(error.value.hint)
    with pytest.raises(UsageError, match="no node has a run"):
        history.meant("2026", [on("a")])


def test_the_last_run_is_the_same_everywhere_or_refused() -> None:
    assert history.meant("last", [on("a", FIRST, SECOND), on("b", SECOND), on("c")]) == SECOND
    with pytest.raises(RefusedError, match=f"a has {SECOND}, b has {FIRST}"):
        history.meant("last", [on("a", FIRST, SECOND), on("b", FIRST)])
    with pytest.raises(UsageError, match="no node has a run"):
        history.meant("last", [on("a")])


def test_a_run_that_took_one_back_is_not_the_last() -> None:
    """Who says it twice would otherwise get the first one back."""
    assert history.meant("last", [on("a", FIRST, SECOND, r20261002=FIRST)]) == FIRST


def test_a_report_becomes_changes_notes_and_reasons() -> None:
    report = _Report(
        "armed\n"
        "undone\tssh\tWrite the sshd drop-in\n"
        "kept\t/home/a b\t/var/lib/nodeproof/runs/x/kept/home/a b\n"
        "undone\tsystem\tMake the account ada\n"
        "undone\tsystem\tMake the account ada\n"
        "failed\tfile /etc/hosts\n"
        "left\tsystem\tSet the host name\n"
        "failed\tunit ssh.service\n"
        "differs\tfile /etc/motd\n"
    )
    assert report.armed
    changes = [(c.layer, c.name, c.status, c.reason) for c in report.changes()]
    assert changes == [
        ("ssh", "Take back: Write the sshd drop-in", ChangeStatus.CHANGED, ""),
        ("system", "Take back: Make the account ada", ChangeStatus.CHANGED, ""),
        (
            *("system", "Take back: Set the host name", ChangeStatus.FAILED),
            "could not be restored: /etc/hosts",
        ),
    ]
    assert report.kept() == [
        "/home/a b was not deleted: it is now /var/lib/nodeproof/runs/x/kept/home/a b"
    ]
    assert report.trouble() == (
        "/etc/hosts, unit ssh.service could not be restored; /etc/motd is not what it was"
    )
    assert not _Report("").armed
    assert _Report("").trouble() == ""


def test_words_for_the_node_stay_words() -> None:
    part = Part("x", "ssh; reboot", ("Let * be", "$(id)"))
    assert shlex.split(part.words) == ["ssh; reboot", "Let * be\n$(id)"]


def test_a_control_is_the_changes_of_its_layer() -> None:
    part = command._part("", "NP-SYS-07")
    assert part.layer == "system"
    assert "Let * become root" in part.names
    assert command._part("ssh", "") == Part("", "ssh")
    assert command._part("", "") == Part("")


def test_the_inventory_is_known_from_a_kept_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.STATE_VARIABLE, str(tmp_path))
    planned, applied = samples.planned(), samples.applied()
    store.save(planned.model_copy(update={"run": SECOND, "inventory": "other.py"}))
    with pytest.raises(UsageError, match="no run of this machine"):
        command._inventory_of(SECOND)
    store.save(applied.model_copy(update={"run": FIRST}))
    assert command._inventory_of(FIRST[:10]) == applied.inventory
    (tmp_path / "results" / f"{THIRD}.json").write_text("{")
    assert command._inventory_of("2026") == applied.inventory
    assert [one.run for one in store.kept("", Command.APPLY)] == [FIRST]
