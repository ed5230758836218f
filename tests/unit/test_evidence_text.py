"""The terminal's summary fits, tells what needs attention, and lets no node steer the terminal."""

from __future__ import annotations

import re
import time

import pytest
import samples
from rich.cells import cell_len

from nodeproof.engine.result import ChangeStatus, Command, NodeStatus, Result
from nodeproof.evidence.plain import one_line, printable
from nodeproof.evidence.score import only
from nodeproof.evidence.text import render_text

SAMPLES = samples.everything()
SGR = re.compile(r"\x1b\[[0-9;]*m")


def text(result: Result, width: int = 100, **options: bool) -> str:
    return render_text(result, width=width, color=False, **options)


@pytest.mark.parametrize("full", [False, True], ids=["short", "full"])
@pytest.mark.parametrize("width", [20, 40, 60, 100, 250])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_line_fits(name: str, width: int, full: bool) -> None:
    said = text(SAMPLES[name], width, verbose=full, diff=full)
    assert [line for line in said.splitlines() if cell_len(line) > width] == []
    assert [line for line in said.splitlines() if line != line.rstrip()] == []
    assert said.endswith("\n")
    assert not said.endswith("\n\n")


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_colour_adds_only_colour(name: str) -> None:
    result = SAMPLES[name]
    colored = render_text(result, width=100, color=True, verbose=True, diff=True)
    assert SGR.sub("", colored) == text(result, verbose=True, diff=True)
    assert SGR.search(colored)


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = render_text(samples.planned(), width=100, color=True)
    for name, value in {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "33"}.items():
        monkeypatch.setenv(name, value)
    assert render_text(samples.planned(), width=100, color=True) == wanted


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_no_node_steers_the_terminal(name: str) -> None:
    said = text(SAMPLES[name], verbose=True, diff=True)
    assert printable(said) == said


def test_one_line_a_node() -> None:
    said = text(samples.apply_failed())
    assert "changed      gpu-1   3 changed, 10 right already\n" in said
    assert "failed       gpu-2   1 failed, 2 changed, 2 not tried, 8 right already\n" in said
    assert "unreachable  gpu-3\n" in said


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("inspected", "1 of 3 nodes unreachable; 2 nodes inspected\nnext: mend what is named abo"),
        ("planned", "7 changes pending on 2 of 3 nodes\nnext: nodeproof apply inventories/lab.py"),
        ("nothing_to_do", "2 nodes, 0 changes: nothing to do\nnext: nodeproof verify inventories/"),
        ("applied", "5 changes made on 1 of 2 nodes\nnext: nodeproof verify inventories/lab.py"),
        ("apply_failed", "1 of 4 nodes failed, 1 unreachable, 1 refused; 5 changes made on 2 of 4"),
        (
            "proven",
            "36 checks: all passed\nnext: nodeproof report 20261003T091500Z-4f2a9c --format html",
        ),
        ("verify_failed", "36 checks: 3 failed, 1 skipped, 32 passed\nnext: nodeproof plan"),
        ("empty", "0 nodes: nothing was done\nnext: name hosts in the inventory, or widen"),
        ("nothing_proven", "1 node, no check was run: nothing is proven\nnext: nodeproof setti"),
        ("listed", "1 of 4 nodes unreachable; 3 runs on 3 nodes\nnext: "),
        (
            "would_be_taken_back",
            "1 of 3 nodes refused; 3 changes of run 20261001T091500Z-4f2a9c to take back on 1 of 3",
        ),
        ("taken_back", "20261001T091500Z-4f2a9c taken back on 1 of 3 nodes\nnext: mend what is"),
        ("interrupted", "interrupted: 1 of 2 nodes failed; 2 changes made on 1 of 2 nodes\nnext"),
    ],
)
def test_it_ends_with_verdict_and_next_command(name: str, ends: str) -> None:
    *_, verdict, following = text(SAMPLES[name], 250).splitlines()
    assert ends in f"{verdict}\n{following}"


def test_a_single_node_is_named() -> None:
    failed = samples.result(Command.APPLY, samples.failed_apply("gpu-7"))
    assert "gpu-7 failed; 2 changes made on gpu-7\n" in text(failed)
    lost = samples.result(Command.INSPECT, samples.unreachable("gpu-7"))
    assert "\ngpu-7 unreachable\nnext: " in text(lost)


def test_failed_changes_say_why_and_what_to_do() -> None:
    assert """\
Failed changes
  ssh
    Install the OpenSSH server  on gpu-2
      apt-get: exit code 100
      E: no space left
      → apply again: it goes on where it stopped
""" in text(samples.apply_failed())


def test_unreachable_and_refused_nodes_say_why_and_what_to_do() -> None:
    said = text(samples.apply_failed())
    assert "gpu-3: unreachable\n  connection refused on 192.0.2.7 port 22\n  → start sshd" in said
    assert "edge-1: refused\n  Fedora 43 is not supported;" in said


def test_unforeseen_changes_are_told() -> None:
    said = text(samples.apply_failed())
    assert "Changes that the plan did not foresee\n  ssh\n    Reload the OpenSSH server" in said


def test_failed_checks_stand_under_their_layer_with_controls() -> None:
    assert """\
Failed checks
  ssh
    test_root_login_refused  [NP-SSH-01]  on gpu-1, gpu-2
      Root does not log in over the network.
      permitrootlogin is yes, want no
        sshd -T was run as root at 12:00:03
  confinement
    test_profile_enforced  [NP-CON-02]  on gpu-1
      The profile is enforced.
      mode is complain

1 check skipped; --verbose says why
""" in text(samples.verify_failed())


def test_a_reason_that_only_counts_checks_is_not_told_again() -> None:
    assert "of 12 checks failed" not in text(samples.verify_failed())
    lost = samples.checks({4: samples.REASON})
    node = samples.node("gpu-1", NodeStatus.FAILED, checks=lost, reason="connection lost")
    assert "gpu-1: failed\n  connection lost" in text(samples.result(Command.VERIFY, node))


def test_verbose_says_why_checks_were_skipped() -> None:
    said = text(samples.verify_failed(), verbose=True)
    assert "no container engine is asked for" in said
    assert "Passed checks\n  system\n    test_packages_installed[chrony]  [NP-SYS-01]" in said


def test_what_passed_is_shown_where_it_measured_something() -> None:
    proofs = samples.checks()
    proofs[0] = proofs[0].model_copy(update={"reason": "GPU 0000:18:00.0: vector is 60 TFLOP/s"})
    said = text(samples.result(Command.VERIFY, samples.verified("gpu-1", proofs)))
    assert f"\nMeasured\n  {proofs[0].layer}\n    {proofs[0].name}  " in said
    assert "\n      GPU 0000:18:00.0: vector is 60 TFLOP/s\n" in said
    assert proofs[1].name not in said


def test_a_plan_says_what_it_would_do() -> None:
    said = text(samples.planned())
    assert "    would write the sshd drop-in  on gpu-1, gpu-3\n" in said
    assert "PermitRootLogin" not in said


def test_a_diff_is_shown_when_asked() -> None:
    said = text(samples.planned(), diff=True)
    assert "      -PermitRootLogin yes\n      +PermitRootLogin no\n" in said
    colored = render_text(samples.planned(), width=100, color=True, diff=True)
    assert "\x1b[32m+PermitRootLogin no\x1b[0m" in colored
    assert "\x1b[31m-PermitRootLogin yes\x1b[0m" in colored


def test_a_plan_says_its_hash() -> None:
    """Who applies it elsewhere, or later, can compare."""
    said = text(samples.planned())
    assert "pending      gpu-1  5 would change, 8 right already, plan a1a1a1a1a1a1\n" in said
    assert "ok           gpu-2  13 right already, plan b2b2b2b2b2b2\n" in said
    assert "plan" not in text(samples.applied()).split("next: ")[0]


def test_a_plan_of_many_nodes_says_one_hash() -> None:
    def said(digest: str) -> str:
        nodes = [samples.node(f"n{n}", NodeStatus.OK, plan_hash=digest) for n in range(21)]
        return text(samples.result(Command.PLAN, *nodes))

    (line,) = [line for line in said("1").splitlines() if line.endswith(" over all nodes")]
    assert re.fullmatch(r"plan [0-9a-f]{12} over all nodes", line)
    assert line not in said("2")


def test_many_nodes_are_grouped() -> None:
    said = text(samples.fleet(Command.VERIFY))
    assert "ok           190 nodes  checks: 12 passed\n" in said
    assert "unreachable  2 nodes    gpu-0067, gpu-0134\n" in said
    assert said.count("test_clock_synchronised") == 1
    assert "      gpu-0046: offset is 4.6 s, want at most 0.5 s\n" in said
    assert len(said.splitlines()) < 50


def test_what_is_left_out_is_counted() -> None:
    said = text(samples.wide(300, 12))
    assert "… 292 more, see --json" in said
    assert "… 292 more reasons, see --json" in said
    everything = text(samples.wide(300, 12), verbose=True)
    assert "see --json" not in everything
    assert all(f"node-{number:04}: value is {number}" in everything for number in range(300))


def test_a_long_reason_is_cut_aloud() -> None:
    reason = "\n".join(f"line {number}" for number in range(40))
    result = samples.result(Command.APPLY, samples.node("gpu-1", NodeStatus.FAILED, reason=reason))
    assert "line 11\n  … 28 more lines, see --json\n" in text(result)
    assert "line 39" in text(result, verbose=True)


def test_the_same_step_twice_is_told_twice() -> None:
    step = samples.change(5, ChangeStatus.PLANNED)
    result = samples.result(
        Command.PLAN, samples.node("gpu-1", NodeStatus.PENDING, changes=[step, step])
    )
    assert text(result).count("would install Docker") == 2


def test_long_names_and_wide_characters_fit() -> None:
    names = ["節点" * 20, "x" * 150]
    result = samples.result(Command.PLAN, *(samples.unreachable(name) for name in names))
    said = text(result, 60)
    assert max(cell_len(line) for line in said.splitlines()) <= 60
    assert said.count("節点") >= 40 - said.count("節\n")


def test_a_thousand_nodes_are_quick() -> None:
    result = samples.wide(1000, 60)
    begun = time.process_time()
    text(result)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\r\nb\tc", "a\nb   c"),
        ("over\rwritten", r"over\rwritten"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("\uffff\ufeff", r"\uffff\ufeff"),
        ("Grüße, 節点 ✓", "Grüße, 節点 ✓"),
    ],
)
def test_unsafe_characters_are_shown_as_escapes(raw: str, safe: str) -> None:
    assert printable(raw) == safe


def test_one_line_is_one_line() -> None:
    assert one_line("  a\n b\r\n\tc ") == "a b c"


def test_runs_are_a_table_the_newest_first() -> None:
    said = text(samples.listed()).splitlines()
    rows = [line.split() for line in said if line.startswith("2026")]
    assert [row[0] for row in rows] == [
        *(samples.THIRD, samples.SECOND, samples.FIRST, samples.FIRST)
    ]
    assert rows[2][-2:] == ["of", "4"]
    assert (
        "  on gpu-2; layers system, ssh; inventory inventories/lab.py; settings c0ffeec0ffee"
        in said
    )
    assert f"  on gpu-3; takes back {samples.SECOND}; layers system, ssh" in "\n".join(said)
    assert any("partly reverted" in line for line in said)


def test_notes_are_said_once_with_their_nodes() -> None:
    said = text(samples.taken_back(ChangeStatus.CHANGED))
    assert "gpu-1: /home/ada was not deleted: it is in x" in said
    assert "gpu-3: it has no run x; it stays as it is" in said
    assert "/etc/hosts: changed since" in said


def test_what_cannot_be_taken_back_is_said_beforehand() -> None:
    assert "Cannot be taken back\n  system | Install packages\n    libc6 2.36-9 would be" in text(
        samples.lasting()
    )


# Exceptions and standards


def test_exceptions_say_what_why_instead_and_until_when() -> None:
    said = text(samples.excepted(), 160)
    assert (
        """\
Failed checks that are excepted
  ssh
    test_root_login_refused  [NP-SSH-01]  on gpu-1
"""
        in said
    )
    assert (
        """\
Exceptions
  NP-CON-02  kernel.yama.ptrace_scope should be 1, is set to 0, for mpi, slurm  on gpu-1, gpu-2
    because: ranks on one node read each other's memory
    instead: the workloads' profile lets a program trace its own kind alone
    no end
  NP-SSH-01  Root may not log in over SSH  on gpu-1
    because: The installer of the racks logs in as root
    instead: Keys alone, from the network of the racks
    until 2027-01-31
"""
        in said
    )
    assert "    ended on 2026-09-30, no longer counts\n" in said
    assert "checks: 1 failed, 1 excepted, 10 passed" in said
    left = samples.PTRACE.model_copy(update={"value": "", "roles": []})
    proven = samples.verified("gpu-1", samples.checks()).model_copy(update={"exceptions": [left]})
    assert "ptrace_scope should be 1, is left as it is\n" in text(
        samples.result(Command.VERIFY, proven)
    )


def test_standards_say_what_holds_and_how_much_was_looked_at() -> None:
    said = text(samples.excepted())
    assert re.search(r"^standard +hold +excepted +failed +unseen +looked at$", said, re.M)
    assert re.search(r"^CIS Debian 13 +4 of 13 +2 +3 +4 +12 of 316$", said, re.M)
    assert "Ubuntu" not in said
    assert "standard " not in text(samples.verify_failed())


def test_the_head_names_the_standards_that_were_chosen() -> None:
    part = only(samples.excepted(), ["cis_debian13", "hipaa"])
    head = text(part, 120).splitlines()[0]
    assert head.startswith("verify of inventories/lab.py for cis_debian13, hipaa: 3 nodes in")
