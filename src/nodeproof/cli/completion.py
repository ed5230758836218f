"""nodeproof completion: shell completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from nodeproof.errors import UsageError

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script: eval "$(nodeproof completion bash)"."""
    from nodeproof.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"completion: {shell} is not supported")
    click.echo(found(cli, {}, "nodeproof", "_NODEPROOF_COMPLETE").source())
