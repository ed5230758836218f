"""The nodeproof command: finds its subcommands and turns errors into exit codes."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from nodeproof import __version__
from nodeproof.errors import Exit, NodeproofError

COMMANDS = {
    "init": "make an inventory repository of your own",
    "trust": "enrol host keys after showing their fingerprints",
    "inspect": "what the nodes are",
    "settings": "every key that an inventory may hold",
    "catalog": "drivers, toolkits and advisories that there are, with sources",
    "resolve": "which of them work together on a machine, from a file of facts",
    "explain": "which of them the nodes would get, and why",
    "plan": "what would change, and whether it can work",
    "apply": "make it so",
    "verify": "prove it",
    "runs": "what was done to the nodes, by whom, and what came of it",
    "revert": "take a run back",
    "report": "show a result as text, HTML, JUnit or JSON",
    "lab": "disposable test machines",
    "demo": "all of it, on a machine of its own",
    "completion": "shell completion",
}
"""In the order in which a user meets them; a command's module is imported when it is used."""

TALKS_TO_NODES = {
    *("trust", "inspect", "explain", "plan", "apply", "verify", "runs", "revert", "demo"),
}


class Commands(click.Group):
    """Import a subcommand when it is needed: pyinfra takes half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of a first use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a subcommand, or None when there is none of that name."""
        if name not in COMMANDS:
            return None
        if name in TALKS_TO_NODES:
            from nodeproof.engine.adapter import prepare_process

            prepare_process()
        command: click.Command = getattr(import_module(f"nodeproof.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest name for one that does not exist."""
        from nodeproof.settings.problems import nearest

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = nearest(args[0], COMMANDS)
            ctx.fail(f"no command {args[0]!r}" + (f"; did you mean {near}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; an error is one line and a hint, on standard error."""
        try:
            return super().invoke(ctx)
        except NodeproofError as error:
            click.secho(f"nodeproof: {error.message}", fg="red", err=True)
            if error.hint:
                click.echo(f"  → {error.hint}", err=True)
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):  # Abort: at a question of ours
            click.echo("nodeproof: interrupted", err=True)
            ctx.exit(Exit.INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="nodeproof %(version)s")
def cli() -> None:
    """Turn bare Linux machines into AI nodes, harden them, and prove it.

    An INVENTORY is a pyinfra inventory: a file, or host names separated by commas.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(cli.main(prog_name="nodeproof", standalone_mode=True))
