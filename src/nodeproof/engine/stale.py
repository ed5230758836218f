"""Whether a plan is still true, and if not, what moved, in words for whoever made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest

from nodeproof.engine.fingerprint import ChangePrint, FactPrint, Fingerprint
from nodeproof.errors import RefusedError

SHOWN = 5
"""Things that moved on a node that are named; the others are counted."""
CHANGES_SHOWN = 3


def refuse_stale(host: str, agreed: Mapping[str, Fingerprint], now: Fingerprint) -> None:
    """Raise RefusedError, saying what moved, unless a host's plan is the one agreed to."""
    hint = "make a new plan and read it"
    if host not in agreed:
        raise RefusedError(f"{host}: it is not in the plan", hint=hint)
    if agreed[host].hash != now.hash:
        raise RefusedError(f"{host}: {what_moved(agreed[host], now)}", hint=hint)


def what_moved(then: Fingerprint, now: Fingerprint) -> str:
    """Return what differs between two plans of a node, on one line."""
    found = {
        "the settings changed": _some(list(_settings(then, now)), SHOWN),
        "the node moved": _some(_in_turn(_facts(then.facts, now.facts)), SHOWN),
        "the changes differ": _some(list(_changes(then, now)), CHANGES_SHOWN),
    }
    said = [(what, which) for what, which in found.items() if which]
    if not said:  # another version of nodeproof made it
        other = sorted(then.facts.keys() ^ now.facts.keys())
        said = [("what is read changed", _some(other, SHOWN) or "its order")]
    first, *more = said
    start = f"{first[0]} since the plan was made: {first[1]}"
    return "; ".join([start, *(f"{what}: {which}" for what, which in more)])


def _some(named: Sequence[str], most: int) -> str:
    rest = len(named) - most
    shown = named if rest <= 1 else named[:most]
    return ", ".join(shown) + (f" and {rest} more" if rest > 1 else "")


def _settings(then: Fingerprint, now: Fingerprint) -> Iterator[str]:
    for layer in dict.fromkeys((*then.settings, *now.settings)):
        if layer not in then.settings:
            yield f"{layer} is asked for"
        elif layer not in now.settings:
            yield f"{layer} is no longer asked for"
        else:
            for key in _differing(then.settings[layer], now.settings[layer]):
                yield f"{layer}.{key}"


def _facts(then: Mapping[str, FactPrint], now: Mapping[str, FactPrint]) -> Iterator[list[str]]:
    """Yield what moved, a list a fact."""
    for name in then.keys() & now.keys():
        if then[name].digest != now[name].digest:
            yield list(_fact(then[name], now[name]))


def _fact(then: FactPrint, now: FactPrint) -> Iterator[str]:
    things = list(_differing(then.things, now.things))
    for thing in things:
        yield f"{thing} {_verb(thing in then.things, thing in now.things)}"
    if things:
        return
    parts = ", ".join(_differing(then.parts, now.parts)) if then.there and now.there else ""
    yield f"{now.called} {_verb(then.there, now.there)}" + (f" ({parts})" if parts else "")


def _verb(before: bool, after: bool) -> str:
    return "changed" if before == after else ("appeared" if after else "vanished")


def _in_turn(facts: Iterable[list[str]]) -> list[str]:
    """Return one thing of each fact, then the second of each: a hundred packages hide nothing.

    What two facts tell of one thing is told once, by the one that says more.
    """
    ordered = sorted(facts)
    said = [one for one in chain.from_iterable(zip_longest(*ordered)) if one is not None]
    return [one for one in dict.fromkeys(said) if not any(o.startswith(f"{one} (") for o in said)]


def _changes(then: Fingerprint, now: Fingerprint) -> Iterator[str]:
    before, after = _numbered(then.changes), _numbered(now.changes)
    for key in dict.fromkeys((*before, *after)):
        said = _change(before.get(key), after.get(key))
        if said:
            yield f'"{key[0]} | {key[1]}" {said}'


def _change(then: ChangePrint | None, now: ChangePrint | None) -> str:
    """Return what became of a change; nothing where it is the same, or was never needed."""
    was, is_ = then is not None and then.needed, now is not None and now.needed
    if was and not is_:
        return "is no longer needed"
    if is_ and not was:
        return "is new" if then is None else "is needed now"
    return "differs" if then and now and then.digest != now.digest else ""


def _numbered(changes: Iterable[ChangePrint]) -> dict[tuple[str, str, int], ChangePrint]:
    """Return changes by layer, name, and which of that name it is."""
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for change in changes:
        key = (change.layer, change.name)
        seen[key] += 1
        found[*key, seen[key]] = change
    return found


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    return (key for key in dict.fromkeys((*then, *now)) if then.get(key) != now.get(key))
