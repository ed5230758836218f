"""What is going on, while it goes on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nodeproof.engine.result import Change, ChangeStatus, Check, Node, NodeStatus, Verdict

SHOWN = 20
"""Hosts that are shown by name on a terminal; more are counted."""

STYLES = {
    NodeStatus.OK: "green",
    NodeStatus.CHANGED: "yellow",
    NodeStatus.PENDING: "yellow",
    NodeStatus.FAILED: "red",
    NodeStatus.REFUSED: "red",
    NodeStatus.UNREACHABLE: "red",
}


class Progress(Protocol):
    """A watcher of runs and of checks that can step aside while a password is asked for."""

    def node(self, host: str, doing: str) -> None:
        """Say that a host has begun something."""

    def change(self, host: str, change: Change) -> None:
        """Say that one change has come out."""

    def check(self, host: str, check: Check) -> None:
        """Say that one check has come out."""

    def done(self, node: Node) -> None:
        """Say that a host is finished."""


class Lines:
    """Plain lines: one for what each host begins, changes and fails."""

    def node(self, host: str, doing: str) -> None:
        """Print the line."""
        click.echo(f"{host}: {doing}", err=True)

    def change(self, host: str, change: Change) -> None:
        """Print changes and failures; what was right already is in the summary."""
        if change.status in (ChangeStatus.CHANGED, ChangeStatus.FAILED):
            reason = f": {change.reason}" if change.reason else ""
            click.echo(
                f"{host}: {change.status} {change.layer} | {change.name} "
                f"({change.duration_s:.1f} s){reason}",
                err=True,
            )

    def check(self, host: str, check: Check) -> None:
        """Print failures."""
        if check.verdict is Verdict.FAILED:
            click.echo(f"{host}: failed {check.layer} | {check.name}", err=True)

    def done(self, node: Node) -> None:
        """Print how the host came out."""
        click.echo(f"{node.name}: {node.status} after {node.duration_s:.1f} s", err=True)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Lines need not step aside."""
        yield


class Table_:
    """A table that is redrawn: what each host does, how much it changed, how long it took."""

    def __init__(self, hosts: tuple[str, ...], live: Live) -> None:
        self._live = live
        self._began = dict.fromkeys(hosts, 0.0)
        self._doing: dict[str, Text] = {host: Text("waiting", "dim") for host in hosts}
        self._counts: dict[str, list[int]] = {host: [0, 0] for host in hosts}
        self._ended: dict[str, Node] = {}

    def node(self, host: str, doing: str) -> None:
        """Show what the host does."""
        self._began[host] = self._began[host] or time.monotonic()
        self._show(host, Text(doing))

    def change(self, host: str, change: Change) -> None:
        """Count it and show its name."""
        self._count(
            host, change.status is ChangeStatus.CHANGED, change.status is ChangeStatus.FAILED
        )
        self._show(host, Text(f"{change.layer} | {change.name}"))

    def check(self, host: str, check: Check) -> None:
        """Count it and show its name."""
        self._count(host, check.verdict is Verdict.PASSED, check.verdict is Verdict.FAILED)
        self._show(host, Text(f"{check.layer} | {check.name}"))

    def done(self, node: Node) -> None:
        """Show how the host came out."""
        self._ended[node.name] = node
        self._show(node.name, Text(node.status.value, STYLES[node.status]))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Stop drawing for a moment."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def _count(self, host: str, good: bool, bad: bool) -> None:
        self._counts[host][0] += good
        self._counts[host][1] += bad

    def _show(self, host: str, doing: Text) -> None:
        self._doing[host] = doing
        self._live.update(self)

    def __rich__(self) -> Table:
        """Draw: hosts that are at work first; many of them are counted."""
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        order = sorted(self._doing, key=lambda host: (host in self._ended, host))
        for host in order[:SHOWN]:
            good, bad = self._counts[host]
            ended = self._ended.get(host)
            now = ended.duration_s if ended else time.monotonic() - self._began[host]
            seconds = f"{now:.0f} s" if self._began[host] else ""
            counts = Text(f"{good}" if good else "", "yellow") + Text(
                f" {bad}" if bad else "", "red"
            )
            table.add_row(Text(host, "bold"), counts, seconds, self._doing[host])
        if len(order) > SHOWN:
            ended_all = len(self._ended)
            table.add_row(
                f"… {len(order) - SHOWN} more", "", "", f"{ended_all} of {len(order)} done"
            )
        return table


@contextmanager
def progress(hosts: tuple[str, ...], *, plain: bool = False) -> Iterator[Lines | Table_]:
    """Show progress on standard error for as long as the context lasts."""
    if plain or not sys.stderr.isatty():
        yield Lines()
        return
    with Live(console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
        yield Table_(hosts, live)
