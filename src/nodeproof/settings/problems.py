"""What is wrong with settings, said so that it can be mended without looking anything up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nodeproof.errors import UsageError
from nodeproof.settings.types import allowed_by

LONGEST_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """One wrong key of one host."""

    inventory: str
    host: str
    key: str
    value: str
    wrong: str
    allowed: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        """Return it as one line: where, what, what is allowed, the nearest spelling."""
        line = f"{self.inventory}: {self.host}: {self.key}: {self.wrong}"
        if self.value:
            line += f" ({self.value})"
        if self.allowed:
            line += f"; allowed: {self.allowed}"
        if self.nearest:
            line += f"; did you mean {self.nearest}?"
        return line


class SettingsError(UsageError):
    """The settings of one or more hosts are wrong; all problems are named at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        hosts = len({problem.host for problem in problems})
        many = f"{len(problems)} problem{'s'[: len(problems) != 1]}"
        on = f"{hosts} host{'s'[: hosts != 1]}"
        lines = "\n".join(f"  {problem}" for problem in _merged(problems))
        super().__init__(
            f"settings: {many} on {on}\n{lines}",
            hint="`nodeproof settings` lists every key; no node was touched",
        )


def _merged(problems: Iterable[Problem]) -> list[Problem]:
    """Name hosts that share a problem (a group's data) in one line instead of a thousand."""
    together: dict[tuple[str, ...], list[Problem]] = {}
    for problem in problems:
        alike = (problem.inventory, problem.key, problem.value, problem.wrong)
        together.setdefault(alike, []).append(problem)
    merged = []
    for same in together.values():
        first, more = same[0], len(same) - 1
        host = first.host if not more else f"{first.host} and {more} more"
        merged.append(
            Problem(
                first.inventory,
                host,
                first.key,
                first.value,
                first.wrong,
                first.allowed,
                first.nearest,
            )
        )
    return merged


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the closest of `words`, or an empty string when none is close."""
    found = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return found[0] if found else ""


def shown(value: Any) -> str:
    """Return a value as it is shown in a message: on one line, cut, never interpreted."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def from_validation(
    error: ValidationError, model: type[BaseModel], inventory: str, host: str, layer: str
) -> list[Problem]:
    """Turn pydantic's error into problems with dotted keys."""
    return [_problem(detail, model, inventory, host, layer) for detail in error.errors()]


def _problem(
    detail: ErrorDetails, model: type[BaseModel], inventory: str, host: str, layer: str
) -> Problem:
    where = [str(part) for part in detail["loc"] if str(part) != "[key]"]
    key = ".".join(filter(None, [layer, *where]))
    value = "" if _hidden(model, detail) else shown(detail["input"])
    context = detail.get("ctx", {})
    if detail["type"] == "extra_forbidden":
        known = _keys_beside(model, detail["loc"][:-1])
        return Problem(
            inventory, host, key, "", "unknown key", ", ".join(known), nearest(where[-1], known)
        )
    if detail["type"] == "string_pattern_mismatch":
        allowed = allowed_by(context["pattern"])
        return Problem(inventory, host, key, value, "not allowed here", allowed)
    if detail["type"] in ("enum", "literal_error"):
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        near = nearest(str(detail["input"]), choices)
        return Problem(inventory, host, key, value, "not a choice", ", ".join(choices), near)
    wrong = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    wrong = wrong.partition(" or instance of ")[0]  # pydantic's word for one of our models
    if detail["msg"].startswith("Input should be "):
        return Problem(inventory, host, key, value, "wrong value", wrong)
    return Problem(inventory, host, key, value, wrong[0].lower() + wrong[1:])


def _hidden(model: type[BaseModel], detail: ErrorDetails) -> bool:
    """Tell whether a value must not be shown: a secret, or a whole layer that may hold one."""
    from nodeproof.settings.describe import model_at

    where = detail["loc"]
    models = (model_at(model, where[:end]) for end in range(len(where)))
    fields = (at.model_fields.get(str(part)) for at, part in zip(models, where, strict=True) if at)
    return not where or any(field is not None and not field.repr for field in fields)


def _keys_beside(model: type[BaseModel], where: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are known at `where` inside `model`."""
    from nodeproof.settings.describe import model_at

    found = model_at(model, where)
    return sorted(found.model_fields) if found else []
