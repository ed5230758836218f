"""Work that a reboot would kill: jobs of a scheduler, and containers of whatever engine."""

from __future__ import annotations

import re
from itertools import pairwise

from pyinfra.api import FactBase
from typing_extensions import override

# Processes tell of every engine and of every user's containers, without asking any daemon: each
# Slurm step has a slurmstepd, each container of Podman or CRI-O a conmon, each of Docker or
# containerd a shim. A name in /proc/PID/comm has 15 characters at most.
_COMMAND = r"""
for p in /proc/[0-9]*; do
  { IFS= read -r name <"$p/comm"; } 2>/dev/null || continue
  case $name in slurmstepd*|conmon|containerd-shim*)
    printf '%s\n' "$name $(tr '\0\n' '  ' 2>/dev/null <"$p/cmdline")";; esac
done 2>/dev/null
true
"""


class Work(FactBase[tuple[str, ...]]):
    """
    Running jobs and containers, in words; who is merely logged in does no work.

    .. code:: python

        ("Slurm job 4711 (step 0)", "container trainer", "container 1f2e3d4c5b6a (moby)")
    """

    called = "running work"

    @override
    def command(self) -> str:
        """Return a script that prints name and command line of the processes that tell."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> tuple[str, ...]:
        """Return no work."""
        return ()

    @override
    def process(self, output: list[str]) -> tuple[str, ...]:
        """Put each process in words, once."""
        return tuple(dict.fromkeys(filter(None, map(_work, output))))


def _work(line: str) -> str:
    name, _, command = line.strip().partition(" ")
    words = command.split()
    options = dict(pairwise(words))
    if name == "conmon":
        return f"container {options.get('-n') or options.get('-c', '')[:12]}".strip()
    if name.startswith("containerd-shim"):
        return f"container {options.get('-id', '')[:12]} ({options.get('-namespace', '')})"
    if words[-1:] == ["infinity"]:  # Slurm's own, which keeps its control group open
        return ""
    job = re.search(r"\[(\d+(?:[_+]\d+)?)\.?(\w*)\]", command)
    return f"Slurm job {job[1]} (step {job[2]})" if job else f"Slurm step: {command or name}"
