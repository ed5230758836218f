"""`nodeproof catalog`: what exists in the world, where that was read, and how to bring newer."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import date

import click

from nodeproof.catalog import update as updates
from nodeproof.catalog.check import looked_up, problems
from nodeproof.catalog.model.base import CatalogModel, Entry
from nodeproof.catalog.overlay import bundles, current
from nodeproof.catalog.whole import SUBJECTS, Catalog
from nodeproof.cli.options import json_option
from nodeproof.errors import Exit, UsageError
from nodeproof.settings.problems import nearest

OLD_DAYS = 90
"""After so many days a look-up is called old."""


@click.group()
def catalog() -> None:
    """Look at the catalog of drivers, toolkits and advisories; bring newer entries."""


@catalog.command("list")
@click.argument("subject", required=False)
@json_option
def list_(subject: str | None, as_json: bool) -> None:
    """List the entries of SUBJECT, or the subjects."""
    known = current()
    if subject is None:
        counts = {name: len(getattr(known, name)) for name in SUBJECTS}
        if as_json:
            click.echo(json.dumps(counts, indent=1))
            return
        for name, count in counts.items():
            click.echo(f"{count:5d}  {name}")
        return
    entries = _table(known, subject)
    if as_json:
        found = {name: one.model_dump(mode="json") for name, one in entries.items()}
        click.echo(json.dumps(found, indent=1))
        return
    for name, one in entries.items():
        click.echo(f"{name:<28} {_in_a_line(one)}".rstrip())


@catalog.command()
@click.argument("entry", metavar="SUBJECT.ENTRY")
@json_option
def show(entry: str, as_json: bool) -> None:
    """Show one entry, and where it was read."""
    known = current()
    subject, _, name = entry.partition(".")
    entries = _table(known, subject)
    if name not in entries:
        near = nearest(name, entries)
        raise UsageError(
            f"{entry}: there is no such entry"
            + (f"; did you mean {subject}.{near}?" if near else ""),
            hint=f"`nodeproof catalog list {subject}` names them",
        )
    found = entries[name].model_dump(mode="json", exclude_defaults=not as_json)
    sources = found.pop("sources", ()) if isinstance(entries[name], Entry) else ()
    note = found.pop("note", "")
    found |= {"note": note} if note else {}
    read = {one: known.sources[one].model_dump(mode="json") for one in sources}
    if as_json:
        click.echo(json.dumps({"entry": found, "sources": read}, indent=1))
        return
    for key, value in found.items():
        click.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    for source in (known.sources[one] for one in sources):
        said = "" if source.primary else " (not its maker)"
        click.echo(f"read in: {source.title}{said}, {source.url}, {source.looked_up}")


@catalog.command()
def check() -> None:
    """Check that the catalog agrees with itself; say what was looked up long ago."""
    known, today = current(), date.today()
    found = problems(known, today)
    for one in found:
        click.echo(f"{one.part}: {one}")
    entries = list(known.entries())
    old = (
        sum((today - looked_up(known, one)).days > OLD_DAYS for _, _, one in entries)
        if not found
        else 0
    )
    own = len(bundles())
    click.echo(
        f"{len(entries)} entries, {len(known.sources)} sources, {own} bundles of yours, "
        f"{len(found)} problems, {old} looked up more than {OLD_DAYS} days ago"
    )
    sys.exit(Exit.FAILED if found else Exit.DONE)


@catalog.command()
@click.argument("source", metavar="FILE|URL")
@click.option("--sha256", metavar="DIGEST", help="What the bundle's SHA-256 must be.")
@click.option(
    "--signature", metavar="FILE|URL", help="A signature of it, as ssh-keygen makes them."
)
@click.option("--signers", metavar="FILE", help="Allowed signers, as ssh-keygen reads them.")
@click.option("--identity", metavar="NAME", help="Who of them must have signed it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def update(
    source: str,
    sha256: str | None,
    signature: str | None,
    signers: str | None,
    identity: str | None,
    yes: bool,
) -> None:
    """Lay a bundle of newer entries over the catalog, after proving it and showing what changes.

    It is kept in a folder of yours; take its file away to undo.
    """
    content = updates.read(source)
    proof = updates.prove(
        content, sha256=sha256, signature=_signature(signature, signers, identity)
    )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source}: is not text") from error
    lines = list(updates.changes(current(), updates.laid_over(text, date.today())))
    if not lines:
        click.echo("nothing in it is new")
        return
    for line in lines:
        click.echo(line)
    click.echo(f"{source}: {proof}", err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "catalog update: there is no terminal to ask on", hint="look at it, then pass --yes"
            )
        click.confirm("Lay this over the catalog?", abort=True, err=True)
    click.echo(f"kept as {updates.keep(content)}", err=True)


def _signature(
    file: str | None, signers: str | None, identity: str | None
) -> updates.Signature | None:
    if file is None:
        return None
    if signers is None or identity is None:
        raise UsageError(
            "--signature: needs --signers and --identity, too",
            hint="a signature proves something only of a signer you know",
        )
    return updates.Signature(file, signers, identity)


def _table(known: Catalog, subject: str) -> dict[str, CatalogModel]:
    if subject not in SUBJECTS:
        near = nearest(subject, SUBJECTS)
        raise UsageError(
            f"{subject}: is no subject of the catalog"
            + (f"; did you mean {near}?" if near else ""),
            hint=f"subjects are {', '.join(SUBJECTS)}",
        )
    table: dict[str, CatalogModel] = dict(getattr(known, subject))
    return table


def _in_a_line(entry: CatalogModel) -> str:
    """Return what an entry is, as far as a line holds it."""
    found = entry.model_dump(mode="json", exclude_none=True, exclude={"sources", "note"})
    words = [
        value if isinstance(value, str) else f"{key} {json.dumps(value)}"
        for key, value in found.items()
        if value not in ("", [], {}, False)
    ]
    width = max(40, shutil.get_terminal_size((100, 24)).columns - 30)
    text = ", ".join(words)
    return text if len(text) <= width else f"{text[: width - 1]}…"
