"""One YAML file a case: how they are found, and how facts in them become the real thing."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter
from pyinfra.api import FactBase, StringCommand

from nodeproof.updates import guard

HERE = Path(__file__).parent


def found(kind: str) -> list[Path]:
    """Return the case files of `operations` or `facts`."""
    return sorted((HERE / kind).glob("*/*.yaml"))


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


class Loader(yaml.SafeLoader):
    """Knows files that are too long for a case: ``!guard program``."""


Loader.add_constructor(
    "!guard",
    lambda loader, node: {
        "program": guard.program(),
        "hook": guard.hook_text(),
        "unit": guard.unit_text(),
    }[node.value],
)


def read(path: Path) -> dict[str, Any]:
    case = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 - it is a SafeLoader
    assert isinstance(case, dict), f"{path}: is no case"
    return case


@cache
def members(package: str) -> dict[str, Any]:
    """Return what the modules of a package define themselves, by ``module.name``."""
    root = import_module(package)
    return {
        f"{info.name}.{name}": value
        for info in iter_modules(root.__path__)
        for name, value in vars(import_module(f"{package}.{info.name}")).items()
        if getattr(value, "__module__", "") == f"{package}.{info.name}"
    }


def facts() -> dict[str, type[FactBase[Any]]]:
    return {
        name: value
        for name, value in members("nodeproof.facts").items()
        if isinstance(value, type) and issubclass(value, FactBase) and "._" not in name
    }


def operations() -> dict[str, Any]:
    return {
        name: value
        for name, value in members("nodeproof.operations").items()
        if hasattr(value, "_inner")
    }


def fact_value(cls: type[FactBase[Any]], written: Any) -> Any:
    """Return what a case says of a fact as the object that the fact itself would give."""
    return TypeAdapter(get_type_hints(cls.process)["return"]).validate_python(written)


def fact_command(cls: type[FactBase[Any]], *arguments: Any) -> str:
    command = cls().command(*arguments)
    return command.get_raw_value() if isinstance(command, StringCommand) else command


def arguments(operation: Any, written: dict[str, Any]) -> dict[str, Any]:
    """Return what a case passes to an operation; what is asked for as one object becomes one."""
    wanted = get_type_hints(operation)
    return {
        name: TypeAdapter(wanted[name]).validate_python(value)
        if is_dataclass(wanted.get(name)) and isinstance(value, dict)
        else value
        for name, value in written.items()
    }


class Facts:
    """The facts of a case: ``module.Fact argument argument`` to what it is."""

    def __init__(self, written: dict[str, Any]) -> None:
        self._known: dict[tuple[str, ...], Any] = {}
        for line, value in written.items():
            name, *arguments = line.split()
            self._known[name, *arguments] = fact_value(facts()[name], value)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._known)

    def get(self, cls: type[FactBase[Any]], arguments: dict[str, Any]) -> Any:
        name = f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"
        bound = inspect.signature(cls().command).bind(**arguments)
        key = (name, *(str(value) for value in bound.arguments.values()))
        assert key in self._known, f"the case does not say what {' '.join(key)} is"
        return self._known[key]
