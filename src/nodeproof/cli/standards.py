"""The option --standard, which completes the names of standards."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem
from typing_extensions import override


class Standard(click.ParamType):  # type: ignore[type-arg]  # click 8.1 takes none
    """A standard's key, such as ``cis_debian13``."""

    name = "standard"

    @override
    def convert(self, value: Any, param: object, ctx: object) -> str:
        """Return the key; raises UsageError, which names the nearest."""
        from nodeproof.evidence.controls import chosen_standards

        return chosen_standards([value])[0]

    @override
    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the keys that begin as typed, with their titles."""
        from nodeproof.evidence.controls import controls

        return [
            CompletionItem(key, help=one.title)
            for key, one in controls().standards.items()
            if key.startswith(incomplete)
        ]


standard_option = click.option(
    "--standard",
    "standards",
    type=Standard(),
    multiple=True,
    metavar="STANDARD",
    help="Only what serves this standard, such as cis_debian13.",
)
