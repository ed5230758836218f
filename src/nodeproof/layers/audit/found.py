"""What a node has that audit rules can be about, for these settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodeproof.layers.audit.facts import KnownSyscalls, Places, PlacesData, Privileged
from nodeproof.layers.audit.rules import MOST_FIELDS, STRICT, Found, candidates, groups
from nodeproof.layers.audit.settings import Settings


def asked(settings: Settings) -> str:
    """Return what `Places` is asked about."""
    paths, programs = candidates(settings.level)
    words = [
        *(f"path:{path}" for path in paths),
        *(f"program:{path}" for path in programs),
        *(f"model:{path}" for path in settings.model_folders),
        *(f"user:{name}" for name in settings.device_users),
        *(f"group:{name}" for name in settings.device_groups),
    ]
    return " ".join(words)


def without(settings: Settings) -> str:
    """Return where `Privileged` does not look."""
    return " ".join([*settings.skip_folders, *settings.model_folders])


def found(settings: Settings, fact: Callable[..., Any]) -> Found:
    """Return what the node has; `fact` gets facts as ``host.get_fact`` does."""
    places: PlacesData = fact(Places, asked=asked(settings))
    strict = settings.level >= STRICT
    # Before the package is there, all that may be asked for is taken for known.
    known = fact(KnownSyscalls) or {"b64": _all(), "b32": _all()}
    return Found(
        syscalls=known,
        watchable=places.paths,
        programs=places.programs,
        devices=places.devices,
        models=places.models,
        privileged=fact(Privileged, without=without(settings)) if strict else (),
        users=tuple(places.users.values()),
        groups=tuple(places.groups.values()),
    )


def too_many(settings: Settings) -> bool:
    """Tell whether a rule about devices would name more than the kernel takes."""
    return 2 * len(settings.device_users) + len(settings.device_groups) > MOST_FIELDS - 4


def _all() -> frozenset[str]:
    return frozenset(
        name for one in groups().values() for calls in one.syscalls for name in calls.names
    )
