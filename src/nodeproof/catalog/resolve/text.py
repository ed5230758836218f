"""An answer for people: what, why, and what to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nodeproof.catalog.resolve.build import summary
from nodeproof.catalog.resolve.choice import Choice, DriverChoice, Nearest, Reason, Refusal

_NO_GPU = ("hardware.driver-has-a-gpu", "hosts.platform-takes-packages")


def told(answer: Choice | Refusal) -> str:
    """Return an answer as lines of text."""
    lines = _refusal(answer) if isinstance(answer, Refusal) else _choice(answer)
    return "\n".join(lines)


def in_one_line(answer: Refusal, ours: Mapping[str, str] | None = None, layer: str = "gpu") -> str:
    """Return a refusal in one line: what is in the way, what to do, what would work.

    `ours` is what a layer calls the resolver's keys, where that is otherwise.
    """
    parts = [f"{answer.text} [{answer.rule}]"]
    if answer.hint:
        parts.append(answer.hint)
    if answer.rule in _NO_GPU:
        image = f"{layer}.image, where the node becomes an image for machines that have one"
        parts.append(f"or set {image}")
    if answer.nearest and answer.nearest.settings.get(layer) != "none":
        change = _change(answer.nearest, ours or {})
        parts.append(f"nearest that works: {change} gives {answer.nearest.text}")
    return "; ".join(parts)


def _change(nearest: Nearest, ours: Mapping[str, str]) -> str:
    return ", ".join(f"{ours.get(key, key)} = {value!r}" for key, value in nearest.settings.items())


def _refusal(answer: Refusal) -> Iterator[str]:
    yield f"refused: {answer.text}  [{answer.rule}]"
    if answer.hint:
        yield f"  → {answer.hint}"
    if answer.nearest:
        yield f"  nearest that works: {_change(answer.nearest, {})}"
        yield f"    gives {answer.nearest.text}"


def _choice(answer: Choice) -> Iterator[str]:
    yield f"chosen: {summary(answer)}"
    if answer.driver:
        yield from _driver(answer.driver)
    for one in answer.companions:
        even = " = " if one.exact else " "
        yield f"  with {', '.join(one.packages)}{even}{one.version}".rstrip()
    for toolkit in answer.cuda:
        compat = f", {toolkit.compat_package}" if toolkit.compat_package else ""
        yield f"  with {toolkit.package} ({toolkit.runs}){compat}"
    for stack in (answer.rocm, answer.intel, answer.container_toolkit):
        if stack:
            yield f"  with {', '.join(stack.packages)} {stack.version}"
    yield from (f"  also: {step}" for step in answer.steps)
    yield from _reasons("because", answer.reasons)
    yield from _reasons("warning", answer.warnings)


def _driver(driver: DriverChoice) -> Iterator[str]:
    if driver.packages:
        place = driver.place.repository if driver.place else "where it came from"
        yield f"  {', '.join(driver.packages)} from {place}, held by {driver.pin}"
    else:
        yield "  kept as it is"


def _reasons(word: str, reasons: tuple[Reason, ...]) -> Iterator[str]:
    for reason in reasons:
        yield f"  {word}: {reason.text}  [{reason.rule}]"
