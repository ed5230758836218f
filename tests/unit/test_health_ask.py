"""How checks ask a node about its GPUs: this machine, and one that answers as it is told."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.test_burn_in import ADDRESS, COMPILER, FAKES

from nodeproof.health.ask import (
    CannotAskError,
    ask,
    ask_burn_in,
    figures,
    why_failed,
    why_skipped,
)
from nodeproof.health.finding import NODE, Topic, held, skipped


@dataclass
class Answer:
    rc: int = 0
    stdout: str = ""
    stderr: str = ""


class Machine:
    """This machine, asked as testinfra asks: arguments are quoted and put in for %s."""

    def __init__(self, **environment: str) -> None:
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}

    def run(self, command: str, *arguments: str) -> Answer:
        if arguments:
            command = command % tuple(shlex.quote(one) for one in arguments)
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        return Answer(done.returncode, done.stdout, done.stderr)


class Told:
    """A node that gives the next answer, whatever it is asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def run(self, command: str, *arguments: str) -> Answer:
        return self.answers.pop(0)


def test_this_machine() -> None:
    """Whatever it is: without a GPU it fails, and what could not be asked is told."""
    found = ask(Machine())
    assert found
    assert all(one.sentence for one in found)


def test_a_node_with_a_lost_gpu() -> None:
    gpus = Answer(
        stdout="pci=0000:18:00.0 10de 2335 10de:18be 030200 nvidia\nnvswitch=22a3 0000:05:00.0"
    )
    state = Answer(stdout="pci.nvidia=0000:18:00.0\nsmi.code=124\nsmi=\nlog.source=journal\n")
    found = ask(Told(gpus, state))
    assert "no answer in 60 s" in why_failed(found, Topic.PRESENT)
    assert "fabric manager is unknown, allowed is active" in why_failed(found, Topic.FABRIC)
    assert why_failed(found, Topic.LOG) == ""


@pytest.mark.parametrize(
    "answer", [Answer(rc=1, stderr="sh: not found"), Answer(stderr="Permission denied")]
)
def test_no_answer_is_an_error(answer: Answer) -> None:
    with pytest.raises(CannotAskError, match="Gpus: "):
        ask(Told(answer))


def test_burn_in_of_this_machine() -> None:
    """It has no driver, as a rule; then nobody knows who uses its GPUs, which is said."""
    found = ask_burn_in(Machine(), ["0000:18:00.0"], seconds=1)
    assert "other work on the GPUs is unknown" in why_failed(found, Topic.BURN_IN)


def test_burn_in_without_python() -> None:
    with pytest.raises(CannotAskError, match="needs python3"):
        ask_burn_in(Told(Answer(rc=127)), [])


def test_burn_in_beside_a_job() -> None:
    """Nothing is started there: both would be slow."""
    job = Answer(stdout="00000000:18:00.0, 4711, python3\n")
    found = ask_burn_in(Told(Answer(), job), ["0000:18:00.0"])
    assert why_failed(found, Topic.BURN_IN) == (
        "the node: other work on the GPUs is 00000000:18:00.0, 4711, python3, allowed is none; "
        "drain the node, and try again"
    )


@pytest.mark.parametrize("code", [124, 137])
def test_burn_in_without_an_end(code: int) -> None:
    with pytest.raises(CannotAskError, match="no end in 700 s, or killed"):
        ask_burn_in(Told(Answer(), Answer(), Answer(rc=code)), ["a", "b"])


def test_burn_in_that_fails_otherwise() -> None:
    with pytest.raises(CannotAskError, match="exit code 2: error: --seconds"):
        ask_burn_in(Told(Answer(), Answer(), Answer(rc=2, stderr="error: --seconds")), [])


def test_burn_in_as_a_check(tmp_path: Path) -> None:
    """With a driver of our own that multiplies wrongly: that fails, and all figures are told."""
    if COMPILER is None:
        pytest.skip("no C compiler, so there is no libcuda to try the burn-in against")
    library = (str(FAKES / "libcuda.c"), "-o", str(tmp_path / "libcuda.so.1"))
    subprocess.run([COMPILER, "-O2", "-shared", "-fPIC", *library], check=True)
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\n")
    smi.chmod(0o755)
    machine = Machine(
        PATH=f"{tmp_path}:/usr/bin:/bin", LD_LIBRARY_PATH=str(tmp_path), FAKE_CUDA_BREAK="matrix"
    )
    found = ask_burn_in(machine, [ADDRESS], seconds=1)
    told, failed = figures(found, Topic.BURN_IN), why_failed(found, Topic.BURN_IN)
    assert "memory is right in" in told
    assert "device-to-device is" in told
    assert "matrix-fp32: element" in failed
    assert "memory" not in failed


def test_why_skipped() -> None:
    one = skipped(Topic.NVLINK, "GPU 1", "NVLinks", "not asked for")
    good = held(Topic.NVLINK, NODE, "NVLinks", "18", good=True)
    assert why_skipped([one], Topic.NVLINK) == "GPU 1: NVLinks is not asked for"
    assert why_skipped([one, good], Topic.NVLINK) == ""
    assert why_skipped([], Topic.NVLINK) == "nothing on this node is about it"
