"""The commands as the reference page shows them, whatever the width of a terminal."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from nodeproof.cli.main import COMMANDS, cli
from nodeproof.settings.reference import table


def described() -> str:
    """Return every command with its options, as Markdown."""
    context = click.Context(cli, info_name="nodeproof")
    parts: list[str] = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        if command is not None:
            parts += _command(command, f"nodeproof {name}")
    return "\n\n".join(parts)


def _command(command: click.Command, path: str, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {path}"
    if isinstance(command, click.Group):
        yield inspect.cleandoc(command.help or "")
        for name, below in command.commands.items():
            yield from _command(below, f"{path} {name}", level + 1)
        return
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option)]
    usage = [path, *(["[OPTIONS]"] if options else []), *map(_placeholder, arguments)]
    yield f"```text\n{' '.join(usage)}\n```"
    yield inspect.cleandoc(command.help or "")
    if options:
        yield table(("option", "meaning"), [(_spelled(one), _meaning(one)) for one in options])


def _placeholder(argument: click.Argument) -> str:
    choices = argument.type.choices if isinstance(argument.type, click.Choice) else None
    if choices:
        return "|".join(choices)
    name = argument.metavar or (argument.name or "").upper()
    return name if argument.required or argument.metavar else f"[{name}]"


def _spelled(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return f"`{names}`"
    if isinstance(option.type, click.Choice):
        return f"`{names} {'|'.join(map(str, option.type.choices))}`"
    kinds = {"integer range": "NUMBER", "path": "PATH", "file": "PATH"}
    value = option.metavar or kinds.get(option.type.name, option.type.name.upper())
    return f"`{names} {value}`"


def _meaning(option: click.Option) -> str:
    notes = []
    if option.multiple:
        notes.append("may be repeated")
    if option.show_default and not option.is_flag:
        notes.append(f"default `{option.default}`")
    return " ".join([option.help or "", *([f"({'; '.join(notes)})"] if notes else [])]).strip()
