"""What moved since a plan was made, in words for a tired person."""

from __future__ import annotations

import pytest

from nodeproof.engine.fingerprint import ChangePrint, FactPrint, Fingerprint
from nodeproof.engine.stale import refuse_stale, what_moved
from nodeproof.errors import RefusedError


def fact(called: str, digest: str = "1", **more: object) -> FactPrint:
    return FactPrint.model_validate({"called": called, "digest": digest, "there": True, **more})


def packages(**versions: str) -> FactPrint:
    things = {f"package {name}": version for name, version in versions.items()}
    return fact("packages", str(versions), things=things)


def change(name: str, digest: str = "1", *, needed: bool = True) -> ChangePrint:
    return ChangePrint(layer="ssh", name=name, needed=needed, digest=digest)


def plan(
    *changes: ChangePrint, settings: dict[str, dict[str, str]] | None = None, **facts: FactPrint
) -> Fingerprint:
    return Fingerprint(settings=settings or {}, facts=facts, changes=changes)


MOVED = "the node moved since the plan was made: "
SETTINGS = "the settings changed since the plan was made: "
OTHERS = "the changes differ since the plan was made: "
CASES = {
    "a file's content": (
        plan(a=fact("/etc/x", "1", parts={"mode": "1", "content": "1"})),
        plan(a=fact("/etc/x", "2", parts={"mode": "1", "content": "2"})),
        f"{MOVED}/etc/x changed (content)",
    ),
    "a new file": (
        plan(a=fact("/etc/x", "1", there=False)),
        plan(a=fact("/etc/x", "2", parts={"mode": "1"})),
        f"{MOVED}/etc/x appeared",
    ),
    "a file that is gone": (
        plan(a=fact("/etc/x", "1", parts={"mode": "1"})),
        plan(a=fact("/etc/x", "2", there=False)),
        f"{MOVED}/etc/x vanished",
    ),
    "packages": (
        plan(a=packages(curl="1", ssh="1", vim="1")),
        plan(a=packages(nginx="1", ssh="2", vim="1")),
        f"{MOVED}package curl vanished, package ssh changed, package nginx appeared",
    ),
    "something in a fact that has no name": (
        plan(a=fact("packages", "1", things={"x": "1"})),
        plan(a=fact("packages", "2", things={"x": "1"})),
        f"{MOVED}packages changed",
    ),
    "a hundred packages hide no file": (
        plan(a=packages(), b=fact("/etc/x"), c=fact("unit x")),
        plan(
            a=packages(**{f"p{n:02}": "1" for n in range(100)}),
            b=fact("/etc/x", "2"),
            c=fact("unit x", "2"),
        ),
        f"{MOVED}/etc/x changed, package p00 appeared, unit x changed, package p01 appeared, "
        "package p02 appeared and 97 more",
    ),
    "one thing told by two facts": (
        plan(a=fact("/etc/x", "1", parts={"content": "1"}), b=fact("b", things={"/etc/x": "1"})),
        plan(
            a=fact("/etc/x", "2", parts={"content": "2"}),
            b=fact("b", "2", things={"/etc/x": "2"}),
        ),
        f"{MOVED}/etc/x changed (content)",
    ),
    "one more than are shown is shown": (
        plan(a=packages()),
        plan(a=packages(**{f"p{n}": "1" for n in range(6)})),
        MOVED + ", ".join(f"package p{n} appeared" for n in range(6)),
    ),
    "settings": (
        plan(settings={"ssh": {"a": "1", "b": "1"}}),
        plan(settings={"ssh": {"a": "1", "b": "2"}}),
        f"{SETTINGS}ssh.b",
    ),
    "layers": (
        plan(settings={"ssh": {"a": "1"}}),
        plan(settings={"system": {"a": "1"}}),
        f"{SETTINGS}ssh is no longer asked for, system is asked for",
    ),
    "changes": (
        plan(change("A"), change("B"), change("C", needed=False), change("D", needed=False)),
        plan(
            change("A", "2"), change("C", "2"), change("D", needed=False), change("E"), change("F")
        ),
        f'{OTHERS}"ssh | A" differs, "ssh | B" is no longer needed, "ssh | C" is needed now '
        "and 2 more",
    ),
    "two changes of one name": (
        plan(change("A"), change("A", "2")),
        plan(change("A"), change("A", "3")),
        f'{OTHERS}"ssh | A" differs',
    ),
    "all of it": (
        plan(change("A"), settings={"ssh": {"a": "1"}}, a=fact("unit x")),
        plan(settings={"ssh": {"a": "2"}}, a=fact("unit x", "2")),
        f"{SETTINGS}ssh.a; the node moved: unit x changed; "
        'the changes differ: "ssh | A" is no longer needed',
    ),
    "other facts": (
        plan(a=fact("unit x")),
        plan(b=fact("unit y")),
        "what is read changed since the plan was made: a, b",
    ),
    "the order": (
        plan(change("A"), change("B")),
        plan(change("B"), change("A")),
        "what is read changed since the plan was made: its order",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_moved_is_said(case: str) -> None:
    then, now, said = CASES[case]
    assert then.hash != now.hash
    assert what_moved(then, now) == said
    with pytest.raises(RefusedError) as caught:
        refuse_stale("gpu-1", {"gpu-1": then}, now)
    assert caught.value.message == f"gpu-1: {said}"
    assert caught.value.hint == "make a new plan and read it"


@pytest.mark.parametrize("case", CASES)
def test_what_is_as_it_was_is_not_refused(case: str) -> None:
    then, now, _ = CASES[case]
    for one in (then, now):
        refuse_stale(
            "gpu-1", {"gpu-1": one}, Fingerprint.model_validate_json(one.model_dump_json())
        )


def test_a_host_that_was_not_planned() -> None:
    with pytest.raises(RefusedError, match="gpu-2: it is not in the plan"):
        refuse_stale("gpu-2", {"gpu-1": plan()}, plan())
