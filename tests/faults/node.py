"""A container node with what a fault needs of a machine: power, a cable, and a way back.

Much faster than a machine, for the kinds of faults that need no kernel of their own.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nodeproof.lab import ContainerNode, containers, nspawn, tree

TOOLS = ("nftables", "procps", "perl-base", "tzdata")


class NodeMachine:
    """A container node that behaves as a `Machine` does."""

    def __init__(self, name: str, distribution: str) -> None:
        self._stack = ExitStack()
        self._lower = tree.shared_root(distribution, TOOLS)
        made = containers([name], distribution, preinstall=TOOLS)
        self._node: ContainerNode = self._stack.enter_context(made)[0]
        self._kept = self._node.folder / "kept"

    def __getattr__(self, name: str) -> Any:
        """Return what a container node has, too: ssh, access, wait, name, address."""
        return getattr(self._node, name)

    def snapshot(self, tag: str) -> None:
        """Keep its disk as it is now; there is one such state, whatever its tag."""
        self._node.stop()
        self._run("cp", "-a", str(self._node.folder / "upper"), str(self._kept))
        self._node.start()
        self._node.wait()

    def reset(self, tag: str) -> None:
        """Go back to what was kept, by a boot."""
        folder = self._node.folder
        self._off()
        self._run("umount", str(self._node.root))
        self._run("rm", "-rf", str(folder / "upper"), str(folder / "work"))
        self._run("cp", "-a", str(self._kept), str(folder / "upper"))
        (folder / "work").mkdir()
        layers = f"lowerdir={self._lower},upperdir={folder}/upper,workdir={folder}/work"
        self._run("mount", "-t", "overlay", "overlay", "-o", layers, str(self._node.root))
        self._node.start()
        self._node.wait()
        self.wait_booted()

    def power_cut(self) -> None:
        """Kill all of its processes at once and boot it again."""
        self._off()
        self._node.start()

    def link(self, up: bool) -> None:
        """Plug its network in or out, at the host's end."""
        card = f"vb-{self._node._lease.machine}"
        self._run("ip", "link", "set", card, "up" if up else "down")

    def wait_booted(self) -> None:
        """Wait until the boot's last job is done."""
        self._node.ssh("systemctl is-system-running --wait", check=False)

    def set_clock(self) -> None:
        """Do nothing: it has its host's clock."""

    def console(self) -> str:
        """Return what it printed."""
        return Path(self._node.folder, "console.log").read_text(errors="replace")

    def close(self) -> None:
        """Remove it."""
        self._stack.close()

    def _off(self) -> None:
        machine = self._node._lease.machine
        nspawn.kill(machine)
        if self._node._process is not None:
            self._node._process.wait()
            self._node._process = None
        nspawn.remove_cgroups(machine)

    @staticmethod
    def _run(*argv: str) -> None:
        subprocess.run(argv, check=True, capture_output=True)
