"""A host's facts are read together, kept until something on it changes, then read again.

While a deploy is evaluated, an operation that needs a fact we do not have yet is put aside and
the fact noted. All noted facts are then read at once (their commands are pipelined through the
root shell, one round trip), and the operations are evaluated again. A site that is already right
costs as many round trips as its longest chain of facts, not one per fact.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import gevent
from gevent.local import local
from gevent.pool import Pool
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.facts import get_fact as _read_fact
from pyinfra.api.host import Host
from pyinfra.context import ctx_inventory, ctx_state

from nodeproof.facts.needed import NeedFact

TOGETHER = 64
"""Facts under way at once on one host."""

_CACHE = "nodeproof_facts"
_mode = local()


@dataclass(frozen=True)
class Read:
    """One fact that was read."""

    kind: type
    arguments: dict[str, Any]
    value: Any


class FactCache:
    """The facts of one host."""

    def __init__(self, host: Host, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._context = context
        self._known: dict[str, Any] = {}
        self._noted: dict[str, Callable[[], Any]] = {}
        self._about: dict[str, tuple[type, dict[str, Any]]] = {}
        host.connector_data[_CACHE] = self

    def forget(self) -> None:
        """Drop everything: the host was changed."""
        self._known.clear()

    def known(self, name: str, **arguments: Any) -> Any:
        """Return a fact that was read, by class name and arguments, or None."""
        wanted = f"{name} {sorted(arguments.items())!r} "
        return next((value for key, value in self._known.items() if key.startswith(wanted)), None)

    def reads(self) -> list[Read]:
        """Return everything that was read and is still known."""
        return [Read(*self._about[key], value) for key, value in self._known.items()]

    def noting(self, function: Callable[[], Any]) -> Any:
        """Call `function`; a fact it lacks is noted and NeedFact raised."""
        _mode.noting = True
        try:
            return function()
        finally:
            _mode.noting = False

    def fetch(self) -> int:
        """Read all noted facts together and return how many there were."""
        noted, self._noted = self._noted, {}
        pool = Pool(TOGETHER)
        jobs = {key: pool.spawn(self._tried, read) for key, read in noted.items()}
        gevent.joinall(list(jobs.values()))
        for key, job in jobs.items():
            value, error = job.get()
            if error is not None:
                raise error
            self._known[key] = value
        return len(noted)

    def _tried(self, read: Callable[[], Any]) -> tuple[Any, Exception | None]:
        """Read a fact or return why not; what a greenlet raises, gevent would print."""
        with self._context():
            try:
                return read(), None
            except Exception as error:
                return None, error

    def get(self, cls: type, args: Any, kwargs: dict[str, Any], read: Callable[[], Any]) -> Any:
        """Return a fact: kept, or noted, or read now."""
        plain = sorted(item for item in kwargs.items() if not item[0].startswith("_"))
        under = sorted(item for item in kwargs.items() if item[0].startswith("_"))
        key = f"{cls.__name__} {plain!r} {args!r} {under!r} {cls.__module__}"
        if key in self._known:
            return self._known[key]
        self._about[key] = (cls, _bound(cls, args, dict(plain)))
        if getattr(_mode, "noting", False):
            self._noted[key] = read
            raise NeedFact(key)
        self._known[key] = value = read()
        return value


def _bound(cls: type, args: Any, plain: dict[str, Any]) -> dict[str, Any]:
    """Return a fact's arguments by name."""
    return dict(inspect.signature(cls().command).bind(*(args or ()), **plain).arguments)


def _get_fact(
    state: Any, host: Host, cls: type, args: Any = None, kwargs: Any = None, **options: Any
) -> Any:
    cache: FactCache | None = host.connector_data.get(_CACHE)
    if cache is None:
        return _read_fact(state, host, cls, args=args, kwargs=kwargs, **options)
    # Facts read inside an operation run with that operation's arguments; keep them with the fact,
    # because it is read later, outside the operation.
    current: dict[str, Any] = dict(host.current_op_global_arguments or {})
    inherited = {key: current[key] for key in CONNECTOR_ARGUMENT_KEYS if current.get(key)}
    full = {**inherited, **(kwargs or {})}

    def read() -> Any:
        return _read_fact(state, host, cls, args=args, kwargs=full, **options)

    return cache.get(cls, args, full, read)


class _PerGreenlet(local):
    module = None


def install() -> None:
    """Put the cache below ``host.get_fact`` and give every greenlet a context of its own.

    Hosts without a cache are read as pyinfra reads them. pyinfra keeps one State per process in
    its context; we have one per host, each in its greenlets.
    """
    for context in (ctx_state, ctx_inventory):
        if not isinstance(context.context._container, _PerGreenlet):
            context.context._container = _PerGreenlet()
    importlib.import_module("pyinfra.api.host").get_fact = _get_fact  # type: ignore[attr-defined]
