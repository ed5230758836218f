"""Ask a node about its GPUs through testinfra, and put what is judged in a check's words.

What a layer's checks need, so that each of them is two lines: a reason to fail, and one to skip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pyinfra.api import FactBase

from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.facts.gpu_state import GpuState
from nodeproof.health.burn_in import judge_burn_in, program
from nodeproof.health.finding import (
    NODE,
    Finding,
    Topic,
    Verdict,
    could_not_look,
    failed,
    held,
)
from nodeproof.health.gpu import judge
from nodeproof.health.nvidia import Allowed

T = TypeVar("T")
PATIENCE_S = 300
"""What a GPU may take for its memory and copies, beside the parts that have a time of their own."""
_WHO = (
    "timeout -k 5 60 nvidia-smi --query-compute-apps=gpu_bus_id,pid,process_name "
    "--format=csv,noheader"
)
"""Who computes on which GPU; the fields are those of nvidia-smi --help-query-compute-apps."""


class Answer(Protocol):
    """What testinfra gives for a command."""

    rc: int
    stdout: str
    stderr: str


class Asked(Protocol):
    """A node, as testinfra's host is one."""

    def run(self, command: str, *arguments: str) -> Answer:
        """Run a command as root."""


class CannotAskError(RuntimeError):
    """The node gave no answer that could be judged."""


def ask(host: Asked, allowed: Allowed | None = None) -> tuple[Finding, ...]:
    """Return what is judged of a node's GPUs, in two commands; raises CannotAskError."""
    found: Accelerators = _fact(host, Gpus())
    state = _fact(host, GpuState())
    return judge(state, nvswitches=found.nvswitches, allowed=allowed)


def ask_burn_in(host: Asked, gpus: Sequence[str], *, seconds: int = 10) -> tuple[Finding, ...]:
    """Burn in the GPUs with these PCI addresses; changes nothing, and takes minutes.

    Where somebody else is at work on a GPU, none is burnt in, and that is the finding: both would
    be slow. Raises CannotAskError where the node has no Python, or no end comes.
    """
    if host.run("command -v python3").rc:
        raise CannotAskError("the burn-in needs python3 on the node; install it")
    if busy := _others(host):
        return busy
    limit = PATIENCE_S * max(1, len(gpus)) + 5 * seconds * max(1, len(gpus))
    done = host.run(
        "timeout -k 10 %s python3 -I -c %s --seconds %s", str(limit), program(), str(seconds)
    )
    if done.rc in (124, 137):
        raise CannotAskError(f"the burn-in: no end in {limit} s, or killed; look at the kernel log")
    if done.rc not in (0, 1):
        raise CannotAskError(f"the burn-in: exit code {done.rc}: {done.stderr.strip()[-500:]}")
    return judge_burn_in(done.stdout.splitlines(), gpus)


def _others(host: Asked) -> tuple[Finding, ...]:
    """Return a finding where others use the GPUs, or where nobody can say."""
    done = host.run(_WHO)
    what, lines = "other work on the GPUs", done.stdout.strip().splitlines()
    if done.rc:
        why = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.rc}")[-200:]
        return (could_not_look(Topic.BURN_IN, NODE, what, why, "mend the driver"),)
    if not lines:
        return ()
    said = "; ".join(" ".join(line.split()) for line in lines[:5])
    action = "drain the node, and try again"
    return (held(Topic.BURN_IN, NODE, what, said, "none", good=False, action=action),)


def figures(findings: Sequence[Finding], topic: Topic) -> str:
    """Return a sentence for each finding of a topic, a line each."""
    return "\n".join(one.sentence for one in findings if one.topic is topic)


def why_failed(findings: Sequence[Finding], topic: Topic) -> str:
    """Return a sentence for each finding of a topic that failed, a line each; empty where none."""
    return "\n".join(one.sentence for one in failed(findings, topic))


def why_skipped(findings: Sequence[Finding], topic: Topic) -> str:
    """Return why nothing of a topic could be judged; empty where something was."""
    found = [one for one in findings if one.topic is topic]
    if not found:
        return "nothing on this node is about it"
    if any(one.verdict is not Verdict.SKIPPED for one in found):
        return ""
    return "\n".join(one.sentence for one in found)


def _fact(host: Asked, fact: FactBase[T]) -> T:
    done = host.run("sh -c %s", str(fact.command()))
    if done.rc or done.stderr.strip():
        raise CannotAskError(f"{fact.__class__.__name__}: {done.stderr.strip()[-500:]}")
    lines = done.stdout.splitlines()
    return fact.process(lines) if lines else fact.default()
