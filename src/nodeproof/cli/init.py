"""nodeproof init: make an inventory repository of your own."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nodeproof.errors import UsageError
from nodeproof.resources import shipped

SCAFFOLD = ("inventory.py", "group_data/all.py", "group_data/nodes.py", "README.md", ".gitignore")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
def init(folder: Path) -> None:
    """Write an inventory with comments into FOLDER; existing files are never touched."""
    existing = [name for name in SCAFFOLD if (folder / name).exists()]
    if existing:
        raise UsageError(
            f"{folder}: has {', '.join(existing)} already", hint="give an empty folder"
        )
    for name in SCAFFOLD:
        path = folder / name
        text = shipped("templates", "init", name.removeprefix(".")).read_text(encoding="utf-8")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
        click.echo(str(path))
    where = folder / "inventory.py"
    click.echo(
        f"\nNext: name your machines in {where}, then\n"
        f"  nodeproof trust {where}\n  nodeproof plan {where}\n  nodeproof apply {where}\n"
        f"  nodeproof verify {where}",
        err=True,
    )
    sys.exit(0)
