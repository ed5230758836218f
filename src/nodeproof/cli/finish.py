"""The end of every command that has a result: keep it, show it, exit with its code."""

from __future__ import annotations

import os
import shutil
import sys
from typing import NoReturn

import click

from nodeproof.engine.outcome import exit_code
from nodeproof.engine.result import Result
from nodeproof.evidence import store
from nodeproof.evidence.text import render_text


def finish(
    result: Result,
    *,
    as_json: bool,
    detailed: bool = False,
    verbose: bool = False,
    diff: bool = False,
) -> NoReturn:
    """Keep the result, print it, and exit."""
    store.save(result)
    show(result, as_json=as_json, verbose=verbose, diff=diff)
    sys.exit(exit_code(result, detailed=detailed))


def show(result: Result, *, as_json: bool, verbose: bool = False, diff: bool = False) -> None:
    """Print a result: JSON for programs, a summary for people."""
    if as_json:
        click.echo(result.model_dump_json(by_alias=True, indent=1))
        return
    width = shutil.get_terminal_size((100, 24)).columns
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = render_text(result, width=width, color=color, verbose=verbose, diff=diff)
    click.echo(text, nl=False, color=color)
