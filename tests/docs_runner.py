"""Run a documentation page's commands as a person at a terminal would."""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.docs_commands import ROOT, Step
from tests.support import Reachable

ANSWERS = {"[y/N]: ": "y"}
"""What is typed when a question ends like this."""


def run(
    page: Sequence[Step],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    answers: Mapping[str, str] | None = None,
    seconds: float = 1500,
) -> None:
    """Run the steps from top to bottom below `folder`; fails where they do not come out as written.

    Home is ``folder/home``; examples that a checkout has (deploys, inventories) are there too.
    """
    work, script = folder / "work", folder / "script"
    work.mkdir()
    (folder / "home").mkdir(exist_ok=True)
    for name in ("deploys", "inventories"):
        (work / name).symlink_to(ROOT / name)
    script.write_text(_script(page))
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "NODEPROOF_STATE_DIR": str(folder / "state"),
        "NO_COLOR": "1",
    }
    terminal = _Terminal(script, work, {**os.environ, **own, **(environment or {})})
    terminal.serve({**ANSWERS, **(answers or {})}, time.monotonic() + seconds)
    for number, step in enumerate(page):
        if not step.path:
            _compare(step, number, terminal, code_is_shown=_code_is_shown(page, number))


def stand_in(folder: Path, nodes: Sequence[Reachable]) -> None:
    """Let ssh find these nodes at the addresses that `nodeproof init` writes as an example."""
    path = folder / "home" / ".ssh" / "config"
    path.parent.mkdir(mode=0o700, parents=True)
    blocks = [
        f"Host 192.0.2.{number}\n  HostName {node.address}\n  Port {node.ssh_port}\n"
        f"  IdentityFile {node.key}\n"
        for number, node in enumerate(nodes, 11)
    ]
    path.write_text("".join(blocks))


def _script(page: Sequence[Step]) -> str:
    """Return a shell script that marks where each command's output begins and how it ended."""
    lines = ["code=0"]
    for number, step in enumerate(page):
        if step.path:
            path = shlex.quote(step.path)
            lines.append(f'mkdir -p "$(dirname {path})"')
            lines.append(f"printf %s {shlex.quote(step.text)} >{path}")
            continue
        lines.append(f"printf '\\001{number}\\n'; (exit $code)")
        lines.append(step.text)
        lines.append(f"code=$?; printf '\\002{number} %s\\n' $code")
        if not _code_is_shown(page, number):
            lines.append("[ $code = 0 ] || exit 1")
    return "\n".join(lines) + "\n"


class _Terminal:
    """A script on a terminal of its own, with standard error apart: progress is not compared."""

    def __init__(self, script: Path, work: Path, environment: Mapping[str, str]) -> None:
        self._ours, theirs = os.openpty()
        mode = termios.tcgetattr(theirs)
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, mode)
        termios.tcsetwinsize(theirs, (40, 100))
        self._errors = work.parent / "stderr"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                ["setsid", "--ctty", "bash", str(script)],
                cwd=work,
                env=environment,
                stdin=theirs,
                stdout=theirs,
                stderr=errors,
            )
        os.close(theirs)
        self._out = b""
        self._answered = {"out": 0, "err": 0}

    @property
    def out(self) -> str:
        """What was printed so far."""
        return self._out.decode(errors="replace").replace("\r\n", "\n")

    @property
    def err(self) -> str:
        """What was said on standard error so far."""
        return self._errors.read_text(errors="replace")

    def serve(self, answers: Mapping[str, str], until: float) -> None:
        """Answer questions until the script has ended."""
        try:
            while time.monotonic() < until:
                if select.select([self._ours], [], [], 0.2)[0]:
                    self._out += os.read(self._ours, 65536)
                self._answer(answers)
            raise AssertionError(f"no end in time; so far:\n{self.out}\n{self.err}")
        except OSError:  # nobody has the terminal open any more
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._ours)

    def _answer(self, answers: Mapping[str, str]) -> None:
        for stream, text in (("out", self.out), ("err", self.err)):
            for question, answer in answers.items():
                if text.endswith(question) and len(text) > self._answered[stream]:
                    self._answered[stream] = len(text)
                    os.write(self._ours, f"{answer}\n".encode())


def _code_is_shown(page: Sequence[Step], number: int) -> bool:
    """Tell whether the page shows how a command ended; then it need not end well."""
    return [after.text for after in page[number + 1 : number + 2]] == ["echo $?"]


def _compare(step: Step, number: int, terminal: _Terminal, *, code_is_shown: bool) -> None:
    everything = f"printed:\n{terminal.out}\nsaid:\n{terminal.err}"
    found = re.search(rf"\x01{number}\n(.*?)\x02{number} (\d+)\n", terminal.out, re.S)
    assert found, f"{step.where}: was not run: {step.text}\n{everything}"
    assert found[2] == "0" or code_is_shown, f"{step.where}: ended with {found[2]}\n{everything}"
    if step.text == "echo $?":  # the one number that counts
        assert found[1].split() == list(step.output), f"{step.where}: $? is {found[1]}"
        return
    printed = _settled(found[1].splitlines())
    if step.output:
        wanted = ".*".join(re.escape(part) for part in _settled(step.output).split("..."))
        assert re.fullmatch(wanted, printed, re.S), (
            f"{step.where}: {step.text}\nwritten:\n{_settled(step.output)}\nprinted:\n{printed}"
        )


def _settled(lines: Sequence[str]) -> str:
    """Return lines without what differs from run to run: numbers, widths, colours, empty lines."""
    plain = (re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines)
    text = "\n".join(" ".join(line.split()) for line in plain if line.strip())
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{6}", "RUN", text)
    return re.sub(r"\d+(\.\d+)?", "0", text)
