"""Options that several commands share, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from nodeproof.layers import choose_layers
from nodeproof.settings.reboot import When


@dataclass(frozen=True)
class Selection:
    """Which hosts and layers a command is about."""

    inventory: str
    limit: tuple[str, ...]
    layers: tuple[str, ...]


def selects(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add INVENTORY, --limit, --layer and --skip-layer; the command gets a Selection."""

    @click.argument("inventory")
    @click.option("--limit", multiple=True, metavar="HOST|GROUP|PATTERN", help="Only these hosts.")
    @click.option("--layer", multiple=True, metavar="LAYER", help="Only these layers.")
    @click.option("--skip-layer", multiple=True, metavar="LAYER", help="All layers but these.")
    @wraps(function)
    def command(
        inventory: str,
        limit: tuple[str, ...],
        layer: tuple[str, ...],
        skip_layer: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        chosen = choose_layers(layer, skip_layer)
        return function(selection=Selection(inventory, limit, chosen), **rest)

    return command


def asks_password(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add -K; the command gets a Password."""
    from nodeproof.cli.password import Password

    @click.option(
        "-K",
        "--ask-sudo-password",
        is_flag=True,
        help="Ask for the sudo password at the start. It is asked for when needed anyway.",
    )
    @wraps(function)
    def command(ask_sudo_password: bool, **rest: Any) -> Any:
        password = Password()
        if ask_sudo_password:
            password.ask()
        return function(password=password, **rest)

    return command


def reboots(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --reboot and what belongs to it; the command gets an Order."""
    from nodeproof.engine.reboot import LIMIT_S, Order

    @click.option(
        "--reboot",
        type=click.Choice([when.value for when in When]),
        help="When to reboot at the end; wins over the inventory, which says never by default.",
    )
    @click.option(
        "--reboot-timeout",
        type=click.IntRange(min=10),
        default=LIMIT_S,
        show_default=True,
        metavar="SECONDS",
        help="How long a node may take to come back.",
    )
    @click.option(
        "--reboot-despite-work", is_flag=True, help="Also where it kills jobs and containers."
    )
    @wraps(function)
    def command(
        reboot: str | None, reboot_timeout: int, reboot_despite_work: bool, **rest: Any
    ) -> Any:
        when = When(reboot) if reboot else None
        return function(order=Order(when, reboot_timeout, reboot_despite_work), **rest)

    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
