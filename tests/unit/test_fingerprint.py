"""Digests of what a plan rests on: equal for what is equal, and silent on what does not count."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from string import Formatter
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from pyinfra.api import FactBase
from tests import cases

from nodeproof.engine.canonical import canonical, digest, uncounted
from nodeproof.engine.fingerprint import Fingerprint, fingerprint
from nodeproof.facts.files import FileState, FileStateData, SecretFileState, SecretFileStateData
from nodeproof.facts.node import Disk, Node, NodeFacts
from nodeproof.facts.packages import AptLastWords, AptPackages, PackagesData
from nodeproof.facts.users import AccountData, Accounts, AccountsData, SudoRules
from nodeproof.layers.ssh.settings import Settings as SshSettings
from nodeproof.uncounted import Uncounted

PLAIN = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
HASHABLE = st.integers() | st.text()
VALUES = st.recursive(
    PLAIN | st.frozensets(HASHABLE),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@dataclass(frozen=True)
class Kept:
    """A fact of a test."""

    what: str
    items: dict[str, int] = field(default_factory=dict)
    age: Annotated[int, Uncounted("it grows")] = 0


class Model(BaseModel):
    """The same as a model."""

    what: str
    age: Annotated[int, Uncounted("it grows")] = 0


@dataclass(frozen=True)
class Read:
    """What the cache of facts says."""

    kind: type[FactBase[Any]]
    value: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)


def facts_hash(*reads: Read) -> str:
    return fingerprint({}, reads, []).hash


# The canonical form


def shuffled(value: Any, chance: random.Random) -> Any:
    """Return an equal value whose dictionaries were filled in another order."""
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {key: shuffled(inner, chance) for key, inner in items}
    if isinstance(value, list):
        return [shuffled(inner, chance) for inner in value]
    return value


@given(VALUES, st.randoms(use_true_random=False))
def test_order_of_dictionaries_does_not_count(value: Any, chance: random.Random) -> None:
    assert digest(shuffled(value, chance)) == digest(value)


@given(st.lists(HASHABLE, unique_by=lambda one: (type(one), one)))
def test_order_of_sets_does_not_count(items: list[Any]) -> None:
    assert digest(set(items)) == digest(frozenset(reversed(items)))


@given(VALUES, VALUES)
def test_equal_digests_mean_equal_values(one: Any, other: Any) -> None:
    if digest(one) == digest(other):
        assert one == other


@given(st.text(), st.dictionaries(st.text(), st.integers()), st.integers(), st.integers())
def test_uncounted_fields_do_not_count(
    what: str, items: dict[str, int], age: int, later: int
) -> None:
    assert digest(Kept(what, items, age)) == digest(Kept(what, items, later))
    assert digest(Model(what=what, age=age)) == digest(Model(what=what, age=later))
    assert digest([{"x": Kept(what, items, age)}]) == digest([{"x": Kept(what, items, later)}])
    assert digest(Kept(what + "!", items, age)) != digest(Kept(what, items, age))
    assert digest(Model(what=what + "!")) != digest(Model(what=what))


PAIRS = {
    "true and one": (True, 1),
    "one and its text": (1, "1"),
    "nothing and its text": (None, "None"),
    "text and bytes": ("a", b"a"),
    "a list and a set": ([1], {1}),
    "a list and its text": (["a", "b"], ["a,b"]),
    "nested and flat": ([["a"], "b"], ["a", "b"]),
    "order of a list": ([1, 2], [2, 1]),
    "a dictionary and its items": ({"a": 1}, [["a", 1]]),
    "empty and missing": ({"a": None}, {}),
    "a field and nothing": (Kept("a"), Kept("b")),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_what_differs_is_told_apart(pair: str) -> None:
    one, other = PAIRS[pair]
    assert digest(one) != digest(other)


def test_what_cannot_be_told_stably_is_an_error() -> None:
    with pytest.raises(TypeError, match="object has no canonical form"):
        canonical(object())


def test_digests_are_the_same_in_every_process() -> None:
    value = {"b": {"x", "y"}, "a": Kept("k", {"n": 1}), "c": PurePosixPath("/x")}
    assert digest(value)[:16] == "5d1557d62a5358f9"


# Facts


def test_everything_marked_says_why() -> None:
    marked = {
        f"{kind.__name__}.{name}": why
        for kind in (NodeFacts, Disk, PackagesData, SecretFileStateData)
        for name, why in uncounted(kind).items()
    }
    assert marked.keys() == {
        *("NodeFacts.memory_kb", "NodeFacts.boot_id", "Disk.size_kb", "Disk.free_kb"),
        *("PackagesData.lists_fresh", "PackagesData.own_fresh", "SecretFileStateData.content"),
    }
    assert all(marked.values())
    page = (cases.HERE.parent / "docs" / "reference" / "plans.md").read_text(encoding="utf-8")
    for name in marked:
        field = name.rpartition(".")[2]
        assert f"`{field}`" in page or field == "content", f"{field} is not in {page[:20]}"


def test_facts_that_move_by_themselves_do_not_count() -> None:
    def node(free: int, boot: str, **more: Any) -> Read:
        disk = Disk(mount="/", size_kb=free * 2, free_kb=free)
        return Read(Node, NodeFacts(boot_id=boot, memory_kb=free, disks=(disk,), **more))

    assert facts_hash(node(1, "x")) == facts_hash(node(2, "y"))
    assert facts_hash(node(1, "x")) != facts_hash(node(1, "x", kernel="6.1"))
    packages = PackagesData({"a": "1"}, (), lists_fresh=True)
    old = replace(packages, lists_fresh=False)
    assert facts_hash(Read(AptPackages, packages)) == facts_hash(Read(AptPackages, old))


def test_accounts_of_running_units_do_not_count() -> None:
    ops = AccountData("ops", 1000, "ops", "/home/ops", "/bin/sh")
    before = AccountsData({"ops": ops}, {"ops": frozenset()})
    refresh = replace(ops, name="fwupd-refresh", uid=61184)
    during = AccountsData(
        {"ops": ops, "fwupd-refresh": refresh},
        {"ops": frozenset(), "fwupd-refresh": frozenset()},
    )
    added = AccountsData(
        {"ops": ops, "bob": replace(ops, name="bob", uid=65520)}, {"ops": frozenset()}
    )
    assert facts_hash(Read(Accounts, before)) == facts_hash(Read(Accounts, during))
    assert facts_hash(Read(Accounts, before)) != facts_hash(Read(Accounts, added))


def test_a_secret_leaves_no_trace() -> None:
    def file(kind: type[FactBase[Any]], value: FileStateData) -> Fingerprint:
        return fingerprint({}, [Read(kind, value, {"path": "/etc/token"})], [])

    one = SecretFileStateData("file", "600", "root", "root", b"hunter1")
    assert file(SecretFileState, one) == file(SecretFileState, replace(one, content=b"hunter2"))
    assert file(SecretFileState, one) != file(SecretFileState, replace(one, mode="644"))
    plain = FileStateData(**vars(one))
    assert file(FileState, plain) != file(FileState, replace(plain, content=b"hunter2"))
    assert digest(SecretStr("one")) == digest(SecretStr("other"))


def test_facts_have_names_for_people() -> None:
    state = FileStateData("file", "644", "root", "root", b"x")
    found = fingerprint({}, [Read(FileState, state, {"path": "/etc/hosts"})], [])
    (fact,) = found.facts.values()
    assert found.facts.keys() == {"FileState /etc/hosts"}
    assert (fact.called, fact.there) == ("/etc/hosts", True)
    assert fact.parts.keys() == {"kind", "mode", "user", "group", "content"}
    packages = Read(AptPackages, PackagesData({"nginx": "1"}, ("curl",)))
    things = fingerprint({}, [packages], []).facts["AptPackages"].things
    assert things.keys() == {"package nginx", "half installed package curl"}


def test_contents_are_not_in_it() -> None:
    state = FileStateData("file", "644", "root", "root", b"hunter2")
    accounts = AccountsData({"ops": AccountData("ops", 1, "g", "/hunter2", "/bin/sh")})
    reads = [Read(FileState, state, {"path": "/x"}), Read(Accounts, accounts)]
    assert "hunter2" not in fingerprint({}, reads, []).model_dump_json()


def test_one_fact_read_in_two_ways_is_one() -> None:
    facts = NodeFacts(kernel="6.1")
    once = fingerprint({}, [Read(Node, facts)], [])
    assert fingerprint({}, [Read(Node, facts), Read(Node, facts)], []) == once
    other = Read(Node, NodeFacts(kernel="6.2"))
    there = fingerprint({}, [Read(Node, facts), other], [])
    assert there.hash == fingerprint({}, [other, Read(Node, facts)], []).hash != once.hash


def test_settings_count_key_by_key() -> None:
    plain = fingerprint({"ssh": SshSettings()}, [], [])
    changed = fingerprint({"ssh": SshSettings(max_sessions=7)}, [], [])
    differing = {
        key for key, value in plain.settings["ssh"].items() if changed.settings["ssh"][key] != value
    }
    assert differing == {"max_sessions"}


CASES = [
    path
    for path in cases.found("facts")
    if "is" in cases.read(path) and not getattr(cases.facts()[path.parent.name], "uncounted", "")
]


@pytest.mark.parametrize("path", CASES, ids=cases.named)
def test_every_fact_has_a_fingerprint(path: Any) -> None:
    """A fact whose value has no canonical form would fail every plan."""
    case = cases.read(path)
    kind: Any = cases.facts()[path.parent.name]
    value = cases.fact_value(kind, case["is"])
    names = [name for _, name, _, _ in Formatter().parse(kind.called) if name]
    read = Read(kind, value, dict.fromkeys(names, "/x"))
    (fact,) = fingerprint({}, [read], []).facts.values()
    assert len(fact.digest) == 64
    assert "{" not in fact.called
    assert fingerprint({}, [read], []).facts == fingerprint({}, [read], []).facts


def test_a_fact_that_does_not_count_is_in_no_plan() -> None:
    read = Read(AptLastWords, {"libc6": "2.36-9"}, {"names": "curl"})
    assert fingerprint({}, [read], []).facts == {}


def test_rules_are_named_by_their_file() -> None:
    rule = cases.fact_value(SudoRules, [{"file": "/etc/sudoers.d/x", "users": ["a"], "groups": []}])
    (fact,) = fingerprint({}, [Read(SudoRules, rule)], []).facts.values()
    assert fact.things.keys() == {"/etc/sudoers.d/x"}
