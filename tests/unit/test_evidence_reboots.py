"""What reports say of reboots."""

from __future__ import annotations

import pytest
from samples import result

from nodeproof.engine.result import Command, Node, NodeStatus, Reboot
from nodeproof.evidence import summary
from nodeproof.evidence.html import render_html
from nodeproof.evidence.text import render_text
from nodeproof.settings.reboot import When

WHY = ["kernel 6.12.117-amd64 is installed, 6.12.107-amd64 runs"]
NEEDED = Reboot(needed=WHY)
FORESEEN = Reboot(asked=When.IF_NEEDED, needed=WHY)
DONE = Reboot(
    asked=When.IF_NEEDED,
    needed=WHY,
    done=True,
    kernel_before="6.12.107-amd64",
    kernel_after="6.12.117-amd64",
    notes=["was killed: container trainer"],
)
ASKED = Reboot(asked=When.ALWAYS)


def node(reboot: Reboot | None, name: str = "node1", status: NodeStatus = NodeStatus.OK) -> Node:
    return Node(name=name, status=status, reboot=reboot)


@pytest.mark.parametrize(
    ("command", "reboot", "said", "verdict"),
    [
        (Command.APPLY, NEEDED, f"reboot needed: {WHY[0]}", "1 node in need of a reboot"),
        (Command.PLAN, NEEDED, f"reboot needed: {WHY[0]}", "1 node in need of a reboot"),
        (Command.PLAN, FORESEEN, f"would be rebooted: {WHY[0]}", "1 node to be rebooted"),
        (Command.PLAN, ASKED, "would be rebooted: asked for", "1 node to be rebooted"),
        (Command.APPLY, DONE, f"rebooted: {WHY[0]}", "1 node rebooted"),
        (Command.APPLY, FORESEEN, f"not rebooted: {WHY[0]}", ""),
    ],
)
def test_said_everywhere(command: Command, reboot: Reboot, said: str, verdict: str) -> None:
    made = result(command, node(reboot))
    text = render_text(made, width=200, color=False)
    page = render_html(made)
    for sentence in (f"node1: {said}", verdict, *reboot.notes):
        assert sentence in text
    for sentence in (f"<p>{said}</p>", verdict, *reboot.notes):
        assert sentence in page


def test_nothing_is_said_where_nothing_is_needed() -> None:
    made = result(Command.APPLY, node(None))
    assert "reboot" not in render_text(made, width=200, color=False)
    assert "<h3>Reboot</h3>" not in render_html(made)


def test_nodes_with_the_same_reasons_stand_together() -> None:
    made = result(Command.APPLY, *(node(NEEDED, f"node{n}") for n in range(3)))
    text = render_text(made, width=200, color=False)
    assert text.count("reboot needed") == 1
    assert "node0, node1, node2: reboot needed" in text


def test_the_next_step_reboots() -> None:
    wanted = "nodeproof apply inventories/lab.py --reboot if-needed (reboots what needs it)"
    assert summary.next_step(result(Command.APPLY, node(NEEDED))) == wanted
    assert summary.next_step(result(Command.PLAN, node(NEEDED))) == wanted
    assert "--reboot" not in summary.next_step(result(Command.APPLY, node(DONE)))
    failed = node(NEEDED, status=NodeStatus.FAILED)
    assert "--reboot" not in summary.next_step(result(Command.APPLY, failed))
