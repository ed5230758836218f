"""Read an inventory the way pyinfra reads it, and say in one line what is wrong with it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pyinfra.api import Inventory, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.context import ctx_state
from pyinfra_cli.exceptions import CliError
from pyinfra_cli.inventory import make_inventory

from nodeproof.errors import NodeproofError, UsageError
from nodeproof.resources import PACKAGE
from nodeproof.settings.problems import nearest
from nodeproof.settings.site import HostSettings, merged, validate


@dataclass(frozen=True)
class Fleet:
    """The hosts of an inventory that a command is about, with their validated settings."""

    source: str
    inventory: Inventory
    hosts: tuple[Host, ...]
    settings: dict[str, HostSettings]

    def only(self, names: Sequence[str]) -> Fleet:
        """Return the same fleet with these hosts only."""
        return replace(self, hosts=tuple(host for host in self.hosts if host.name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts' names in the inventory's order."""
        return tuple(host.name for host in self.hosts)


def load(source: str, *, limit: Sequence[str] = ()) -> Fleet:
    """Load and validate an inventory; connects to nothing.

    All hosts are validated, whatever `limit` says: a typing error elsewhere is still one.
    Raises UsageError and SettingsError.
    """
    inventory = _read(source)
    settings = validated(inventory, source)
    return Fleet(source, inventory, _limited(inventory, limit), settings)


def validated(inventory: Inventory, source: str) -> dict[str, HostSettings]:
    """Validate the data of every host of an inventory; raises SettingsError."""
    return validate(source, {host.name: host_data(host) for host in inventory})


def host_data(host: Host) -> dict[str, Any]:
    """Merge a host's data: all, then its groups in order, then its own; nearer wins."""
    inventory = host.inventory
    groups = [inventory.get_group_data(group) for group in host.groups]
    return merged(
        [
            inventory.get_data(),
            *groups,
            inventory.get_host_data(host.name),
            inventory.get_override_data(),
        ]
    )


def _read(source: str) -> Inventory:
    if (source.endswith(".py") or os.sep in source.split("@")[0]) and not Path(source).is_file():
        raise UsageError(f"{source}: no such inventory file", hint="`nodeproof init` makes one")
    try:
        with ctx_state.use(State()):  # the loader writes the file's name into it
            inventory: Inventory = make_inventory(source, cwd=str(Path.cwd()))
    except NodeproofError:
        raise
    except (CliError, PyinfraError) as error:
        raise UsageError(f"{source}: cannot be read as an inventory: {error}") from error
    except Exception as error:
        raise _in_inventory(source, error) from error
    if not len(inventory):
        raise UsageError(
            f"{source}: names no host",
            hint="give an inventory file, or host names separated by commas",
        )
    return inventory


def _in_inventory(source: str, error: Exception) -> UsageError:
    # pyinfra wraps what an inventory raises, and what it wraps with cannot be printed
    cause = getattr(error, "exception", None) or error.__cause__ or error
    if isinstance(cause, NodeproofError):
        return UsageError(f"{source}: {cause.message}", hint=cause.hint)
    file, line = getattr(cause, "filename", None), getattr(cause, "lineno", None)  # SyntaxError
    for frame, number in traceback.walk_tb(cause.__traceback__):
        name = frame.f_code.co_filename
        if "site-packages" not in name and not name.startswith((str(PACKAGE), "<")):
            file, line = name, number
    where = f"{file}, line {line}" if file and line else source
    return UsageError(f"{where}: {type(cause).__name__}: {cause}")


def _limited(inventory: Inventory, limit: Sequence[str]) -> tuple[Host, ...]:
    everyone = tuple(inventory)
    if not limit:
        return everyone
    chosen: set[str] = set()
    for pattern in limit:
        named = {host.name for host in inventory.groups.get(pattern, [])}
        found = named or {host.name for host in everyone if fnmatch(host.name, pattern)}
        if not found:
            near = nearest(pattern, [*(host.name for host in everyone), *inventory.groups])
            raise UsageError(
                f"--limit {pattern}: no host or group of that name",
                hint=f"did you mean {near}?" if near else None,
            )
        chosen |= found
    return tuple(host for host in everyone if host.name in chosen)
