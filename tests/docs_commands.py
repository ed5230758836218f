"""The commands of the documentation, and how each of them is run.

A page says which tier runs its commands: ``<!-- run: TIER -->`` holds from there to the next such
comment. Commands are the lines that begin with ``$`` in a ```console`` block; what stands below one
is what it prints (``...`` for any lines, and any number for a number). A command ends with 0 unless
the next one is ``$ echo $?``. ``<!-- file: PATH -->`` above a block makes that file.

One page's commands of one tier are a script: run from top to bottom in one folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Tier(StrEnum):
    """Who runs a command."""

    LOCAL = "local"
    """tests/unit/test_docs.py: needs no node."""
    NODES = "nodes"
    """tests/nodes/test_docs_commands.py: needs container nodes."""
    MACHINES = "machines"
    """tests/machines/test_docs_commands.py: needs virtual machines."""
    VAGRANT = "vagrant"
    """tests/machines/test_vagrant.py goes through that page's steps on a box of its own."""
    HAND = "hand"
    """No test; `BY_HAND` says why."""


_TESTS_ITSELF = "it runs the tests; CI runs it on a clean checkout"
_GPUS = "it needs GPUs; tests/unit/test_health_ask.py runs it with a driver of its own"
_MACHINE = "it is about the reader's own machine"
_CONSOLE = "it is for a node's console; tests/nodes/test_revert.py runs it there"
BY_HAND = {
    "sudo /var/lib/nodeproof/bin/journal runs": _CONSOLE,
    "sudo /var/lib/nodeproof/bin/journal back last": _CONSOLE,
    "sudo /var/lib/nodeproof/bin/journal back 20261121T0114 ssh": _CONSOLE,
    "nodeproof verify --burn-in --layer gpu site/inventory.py": _GPUS,
    "nodeproof verify --burn-in --burn-in-seconds 300 --layer gpu site/inventory.py": _GPUS,
    "make demo": "it makes a machine of its own; run on a clean checkout before a release",
    "make test": _TESTS_ITSELF,
    "make lint": _TESTS_ITSELF,
    "make fast": _TESTS_ITSELF,
    "make nodes": _TESTS_ITSELF,
    "make machines": _TESTS_ITSELF,
    "make faults": "it takes hours; tests/nodes/test_faults.py and the stories have a part of it",
    "make test-vagrant": _TESTS_ITSELF,
    "sudo apt-get install vagrant vagrant-libvirt libvirt-daemon-system libvirt-clients": _MACHINE,
    "sudo adduser $USER libvirt": _MACHINE,
    "mokutil --import /var/lib/dkms/mok.pub": "it is for a console of a node with Secure Boot",
    "reboot": "it is for a console of a node with Secure Boot",
    "python -m nodeproof.settings.reference": "it writes into the checkout; --check is run",
    "journalctl -k --grep 'apparmor=\"ALLOWED\".*nodeproof-workload'": (
        "it prints what a workload of one's own was about to be denied"
    ),
    "journalctl -k --grep 'nodeproof (in|out|forward)'": "it prints who tried to reach a node",
    "nft list table inet nodeproof": "it is for a node; tests/nodes/test_network_layer.py runs it",
}
"""Commands that no test runs, with the reason."""


@dataclass(frozen=True)
class Step:
    """A command with what it prints, or a file that is to be made (then `path` is set)."""

    page: str
    line: int
    tier: Tier | None
    text: str
    output: tuple[str, ...] = ()
    path: str = ""

    @property
    def where(self) -> str:
        """The place in the documentation."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every page for users."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def doc_commands(tier: Tier | None = None) -> list[Step]:
    """Return all commands of the documentation, or those of one tier."""
    found = [step for page in pages() for step in steps(page) if not step.path]
    return [step for step in found if tier is None or step.tier is tier]


def scripts(tier: Tier) -> dict[str, list[Step]]:
    """Return the steps of a tier by page, in order; pages without commands of it are left out."""
    found: dict[str, list[Step]] = {}
    for page in pages():
        own = [step for step in steps(page) if step.tier is tier]
        if any(not step.path for step in own):
            found[own[0].page] = own
    return found


def steps(page: Path) -> Iterator[Step]:
    """Yield what a page says to do, in order."""
    name, tier, path = str(page.relative_to(ROOT)), None, ""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if found := re.fullmatch(r"<!-- run: (\w+) -->", line):
            tier = Tier(found[1])
        elif found := re.fullmatch(r"<!-- file: (\S+) -->", line):
            path = found[1]
        elif fence := re.fullmatch(r"\s*```(\w*).*", line):
            block = _block(lines)
            if path:
                text = "".join(f"{row}\n" for _, row in block)
                yield Step(name, number, tier, text, path=path)
                path = ""
            elif fence[1] == "console":
                yield from _commands(name, tier, block)


def _block(lines: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    block = []
    for number, line in lines:
        if line.strip() == "```":
            return block
        block.append((number, line))
    raise ValueError("a block has no end")


def _commands(page: str, tier: Tier | None, block: list[tuple[int, str]]) -> Iterator[Step]:
    rows = [(number, line) for number, line in block if line]
    while rows:
        number, line = rows.pop(0)
        if not line.startswith("$ "):
            raise ValueError(f"{page}:{number}: not a command: {line}")
        text = line[2:]
        while text.endswith("\\"):
            text = f"{text[:-1]}{rows.pop(0)[1].strip()}"
        output = []
        while rows and not rows[0][1].startswith("$ "):
            output.append(rows.pop(0)[1])
        yield Step(page, number, tier, text, tuple(output))
