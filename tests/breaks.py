"""Things broken by hand: at once where different checks must name them, so that each is proven."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping


def rounds(breaks: Mapping[str, Collection[str]], alone: Collection[str] = ()) -> list[list[str]]:
    """Return the names of breaks, together where no check must name two of them.

    `breaks` has the checks that must name each; those in `alone` would hide or undo another one.
    """
    found: list[list[str]] = []
    for name, checks in breaks.items():
        for together in found:
            apart = name in alone or together[0] in alone
            if not apart and all(not {*checks} & {*breaks[other]} for other in together):
                together.append(name)
                break
        else:
            found.append([name])
    return found


def break_each(
    breaks: Mapping[str, tuple[str, str, set[str]]],
    run: Callable[[str], object],
    failing: Callable[[], set[str]],
    alone: Collection[str] = (),
) -> None:
    """Break things, by what breaks and mends each; the checks that must name them fail, no other.

    `run` runs a script as root on the node, `failing` returns the checks that fail.
    """
    for together in rounds({what: checks for what, (_, _, checks) in breaks.items()}, alone):
        for what in together:
            run(breaks[what][0])
        assert failing() == {check for what in together for check in breaks[what][2]}, together
        for what in reversed(together):
            run(breaks[what][1])
