"""nodeproof report: show a result again."""

from __future__ import annotations

import os
import shutil
import sys
from enum import StrEnum
from pathlib import Path

import click

from nodeproof.cli.standards import standard_option
from nodeproof.engine.outcome import exit_code
from nodeproof.engine.result import Result
from nodeproof.errors import UsageError
from nodeproof.evidence import store


class Format(StrEnum):
    """What a report can be."""

    TEXT = "text"
    HTML = "html"
    JUNIT = "junit"
    JSON = "json"


@click.command()
@click.argument("run", default="latest", metavar="[RUN|FILE]")
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    default=Format.TEXT.value,
    show_default=True,
    help="What to make.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write it here instead of printing.")
@standard_option
@click.option("-v", "--verbose", is_flag=True, help="Also show what passed, and commands.")
@click.option("--diff", is_flag=True, help="Show how files changed (text).")
def report(
    run: str, form: str, out: Path | None, standards: tuple[str, ...], verbose: bool, diff: bool
) -> None:
    """Show a result: of the latest run, of RUN, or from a FILE that --json printed.

    Exits with the code of the run that it shows; with --standard, of what is left of it.
    """
    from nodeproof.evidence.score import only

    result = only(store.load(run), standards)
    color = out is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = render(result, Format(form), color=color, verbose=verbose, diff=diff)
    if out is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write(out, text)
        click.echo(f"{form} report: {out.resolve()}", err=True)
    sys.exit(exit_code(result))


def render(
    result: Result, form: Format, *, color: bool = False, verbose: bool = False, diff: bool = False
) -> str:
    """Return a result in one of the forms."""
    from nodeproof.evidence.html import render_html
    from nodeproof.evidence.junit import render_junit
    from nodeproof.evidence.text import render_text

    if form is Format.TEXT:
        width = shutil.get_terminal_size((100, 24)).columns
        return render_text(result, width=width, color=color, verbose=verbose, diff=diff)
    if form is Format.JSON:
        return result.model_dump_json(by_alias=True, indent=1) + "\n"
    return render_html(result) if form is Format.HTML else render_junit(result)


def write(path: Path, text: str) -> None:
    """Write a report; raises UsageError where it cannot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
