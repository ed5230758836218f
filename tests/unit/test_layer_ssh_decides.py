"""Which of sshd's files change so that one drop-in decides."""

from __future__ import annotations

import pytest

from nodeproof.layers.ssh.facts import INCLUDE, MAIN, directives
from nodeproof.layers.ssh.operations import BEGIN, DISABLED, END, rewritten

OURS = f"{MAIN}.d/10-nodeproof.conf"
SAID = "# header\nPermitRootLogin no\nAllowUsers ops\n"
BLOCK = f"{BEGIN}\nPermitRootLogin no\nAllowUsers ops\n{END}\n"


def after(found: dict[str, str]) -> dict[str, str]:
    """Apply once, and see that a second time changes nothing."""
    result = {**found, OURS: SAID, **rewritten({**found, OURS: SAID}, OURS)}
    assert rewritten(result, OURS) == {}
    return result


def effective(files: dict[str, str], key: str) -> str:
    """Return the value that sshd takes."""
    return next(one.value for one in directives(files) if one.key == key and not one.match)


@pytest.mark.parametrize(
    ("main", "wanted"),
    [
        ("", f"{INCLUDE}\n{BLOCK}"),
        (f"{INCLUDE}\nUsePAM yes\n", f"{INCLUDE}\n{BLOCK}UsePAM yes\n"),
        (
            f"Port 22\nPermitRootLogin yes\n{INCLUDE}\nPermitRootLogin yes\n",
            f"Port 22\n{DISABLED}PermitRootLogin yes\n{INCLUDE}\n{BLOCK}PermitRootLogin yes\n",
        ),
        (
            f"Match User ops\n{INCLUDE}\n",
            f"{INCLUDE}\n{BLOCK}Match User ops\n{INCLUDE}\n",
        ),
        (
            f"{INCLUDE}\nMatch User git\nPermitRootLogin yes\nMatch all\nPermitRootLogin yes\n",
            f"{INCLUDE}\n{BLOCK}Match User git\nPermitRootLogin yes\nMatch all\n"
            f"{DISABLED}PermitRootLogin yes\n",
        ),
        (f"{INCLUDE}\nAllowUsers eve\n", f"{INCLUDE}\n{BLOCK}{DISABLED}AllowUsers eve\n"),
        (
            f"{INCLUDE}\n{BEGIN}\nPermitRootLogin yes\n{END}\nUsePAM yes\n",
            f"{INCLUDE}\n{BLOCK}UsePAM yes\n",
        ),
        (f"{INCLUDE}\n{BEGIN}\nUsePAM yes\n", f"{INCLUDE}\n{BLOCK}{BEGIN}\nUsePAM yes\n"),
    ],
    ids=["empty", "fresh", "before", "include in match", "match", "adds up", "anew", "no end"],
)
def test_main_repeats_what_the_dropin_decides(main: str, wanted: str) -> None:
    found = after({MAIN: main})
    assert found[MAIN] == wanted
    assert effective(found, "permitrootlogin") == "no"


def test_the_dropin_edited_by_hand_still_decides() -> None:
    """The block is behind the Include: it repeats, and never overrides."""
    found = after({MAIN: f"{INCLUDE}\n"})
    found[OURS] = "PermitRootLogin yes\n"
    assert effective(found, "permitrootlogin") == "yes"


def test_a_dropin_that_comes_first_is_silenced() -> None:
    early = f"{MAIN}.d/00-mine.conf"
    found = after({MAIN: f"{INCLUDE}\n", early: "PermitRootLogin yes\n"})
    assert found[early] == f"{DISABLED}PermitRootLogin yes\n"
