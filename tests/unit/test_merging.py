"""Merging: what is wanted gets in, what others wrote stays, what was ours goes with the wish."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeproof.merging import ConflictError, Merged, UnreadableError, leaves, merge, parsed

NAMES = st.sampled_from(["a", "b", "c", "io.x.y", "a b", 'q"'])
PLAIN = st.one_of(st.booleans(), st.integers(-9, 9), st.sampled_from(["", "x", "über", "a\\b\n"]))
LISTS = st.lists(PLAIN, max_size=3, unique_by=lambda one: (type(one), one))
TABLES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(NAMES, st.one_of(PLAIN, LISTS), max_size=3),
    lambda inner: st.dictionaries(NAMES, st.one_of(PLAIN, LISTS, inner), max_size=3),
    max_leaves=8,
)


def written(values: dict[str, Any], form: str) -> str:
    return json.dumps(values) if form == "json" else tomlkit.dumps(values)


def attempt(text: str, form: Any, wanted: dict[str, Any], **more: Any) -> Merged | None:
    try:
        return merge(text, form, wanted, **more)
    except ConflictError:
        return None


def strict(values: Any) -> list[Any]:
    """Return leaves so that 1, true and 1.0 differ."""
    return [(key, repr(value)) for key, value in leaves(values)]


@pytest.mark.parametrize("form", ["json", "toml"])
@settings(deadline=None)
@given(before=TABLES, wanted=TABLES)
def test_any_two_tables(form: Any, before: dict[str, Any], wanted: dict[str, Any]) -> None:
    text = written(before, form)
    merged = attempt(text, form, wanted)
    if merged is None:
        return  # which keys conflict is seen below
    after = dict(leaves(parsed(merged.text, form)))
    for key, value in leaves(wanted):
        here = after[key]
        assert set(map(repr, value)) <= set(map(repr, here)) if isinstance(value, list) else True
        assert isinstance(value, list) or repr(here) == repr(value)
    for key, value in leaves(before):
        if isinstance(value, list):
            assert after[key][: len(value)] == value, "what was there comes first, in its order"
        else:
            assert repr(after[key]) == repr(value)
    again = merge(merged.text, form, wanted, ours=merged.ours)
    assert again == merged
    # Without any wish, the file says again what it said; tables that were empty may be gone.
    back = merge(merged.text, form, {}, ours=merged.ours)
    assert sorted(strict(parsed(back.text, form))) == sorted(
        one for one in strict(before) if one[1] != "[]" or one in strict(parsed(back.text, form))
    )
    assert back.ours == {}


@pytest.mark.parametrize("form", ["json", "toml"])
@settings(deadline=None)
@given(wanted=TABLES, other=TABLES)
def test_another_wish_takes_the_place_of_the_first(
    form: Any, wanted: dict[str, Any], other: dict[str, Any]
) -> None:
    first = merge("", form, wanted)
    second = attempt(first.text, form, other, ours=first.ours)
    if second is not None:
        kept = [one for one in strict(parsed(second.text, form)) if one[1] != "[]"]
        assert sorted(kept) == sorted(one for one in strict(other) if one[1] != "[]")


OWN = """\
# Kept by hand.
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "mirror.example/pause" # no way out
    cdi_spec_dirs = [
      "/srv/cdi", # ours
    ]

    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/opt"
"""
CRI = "io.containerd.grpc.v1.cri"


def test_comments_and_order_of_toml_stay() -> None:
    wanted = {
        "plugins": {
            CRI: {
                "enable_cdi": True,
                "cdi_spec_dirs": ["/etc/cdi"],
                "containerd": {"runtimes": {"runc": {"options": {"SystemdCgroup": True}}}},
            }
        }
    }
    merged = merge(OWN, "toml", wanted)
    left = iter(merged.text.splitlines())
    assert all(line in left for line in OWN.splitlines()), "every line is there, in its order"
    plugin = tomllib.loads(merged.text)["plugins"][CRI]
    assert plugin["cdi_spec_dirs"] == ["/srv/cdi", "/etc/cdi"]
    assert plugin["enable_cdi"] is True
    back = merge(merged.text, "toml", {}, ours=merged.ours)
    assert [line for line in back.text.splitlines() if line] == [
        line for line in OWN.splitlines() if line
    ]


def test_indentation_of_json_stays() -> None:
    merged = merge('{\n\t"debug": false\n}\n', "json", {"icc": False})
    assert merged.text == '{\n\t"debug": false,\n\t"icc": false\n}\n'


@pytest.mark.parametrize("text", ["", "\n", " \n\n"])
@pytest.mark.parametrize("form", ["json", "toml"])
def test_an_empty_file_says_nothing(form: Any, text: str) -> None:
    assert parsed(merge(text, form, {"a": {"b": 1}}).text, form) == {"a": {"b": 1}}


def test_nothing_to_do_is_the_very_same_text() -> None:
    text = '{"a":1,   "b":[2,1]}'
    assert merge(text, "json", {"a": 1, "b": [1]}).text == text


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("json", "{", "is no JSON"),
        ("json", '{"a": 1, "a": 2}', "a stands twice"),
        ("json", "[1]", "holds no table"),
        ("json", "// mine\n{}", "is no JSON"),
        ("toml", "a = ", "is no TOML"),
        ("toml", "a = 1\na = 2", "is no TOML"),
        ("toml", '{"a": 1}', "is no TOML"),
    ],
)
def test_what_cannot_be_read_is_refused(form: Any, text: str, said: str) -> None:
    with pytest.raises(UnreadableError, match=said):
        merge(text, form, {"b": 1})


@pytest.mark.parametrize(
    ("before", "wanted", "said"),
    [
        ({"icc": True}, {"icc": False}, "icc is true there, and false is asked for"),
        ({"icc": 0}, {"icc": False}, "icc is 0 there, and false is asked for"),
        ({"a": {"x.y": "z"}}, {"a": {"x.y": "w"}}, 'a."x.y" is "z" there, and "w" is asked for'),
        ({"a": 1}, {"a": {"b": 2}}, "a is 1 there, and a table is asked for"),
        ({"a": {"b": 2}}, {"a": 1}, 'a is {"b": 2} there, and 1 is asked for'),
        ({"a": "x"}, {"a": ["x"]}, 'a is "x" there, and ["x"] is asked for'),
    ],
)
@pytest.mark.parametrize("form", ["json", "toml"])
def test_a_conflict_names_key_and_values(
    form: Any, before: dict[str, Any], wanted: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConflictError) as caught:
        merge(written(before, form), form, wanted)
    assert str(caught.value) == said


def test_all_conflicts_are_named_at_once() -> None:
    with pytest.raises(ConflictError, match=r"^a is 1 .*; b is 2 "):
        merge('{"a": 1, "b": 2}', "json", {"a": 3, "b": 4, "c": 5})


def test_what_is_ours_follows_and_what_somebody_changed_since_is_mended() -> None:
    first = merge('{"theirs": 1}', "json", {"icc": False})
    drifted = first.text.replace("false", "true")
    assert merge(drifted, "json", {"icc": False}, ours=first.ours).text == first.text
    assert parsed(merge(first.text, "json", {"icc": True}, ours=first.ours).text, "json") == {
        "theirs": 1,
        "icc": True,
    }


def test_what_somebody_changed_since_is_not_taken_away() -> None:
    first = merge("{}", "json", {"icc": False, "dirs": ["/a"]})
    text = first.text.replace("false", "true").replace('"/a"', '"/a", "/theirs"')
    left = merge(text, "json", {}, ours=first.ours)
    assert parsed(left.text, "json") == {"icc": True, "dirs": ["/theirs"]}


def test_what_was_there_before_stays_when_the_wish_goes() -> None:
    first = merge('{"icc": false, "dirs": ["/a"]}', "json", {"icc": False, "dirs": ["/a", "/b"]})
    assert first.ours == {"dirs": ["/b"]}
    left = merge(first.text, "json", {}, ours=first.ours)
    assert parsed(left.text, "json") == {"icc": False, "dirs": ["/a"]}


def test_the_usual_gives_way_and_comes_back() -> None:
    usual = {"runtime": {"mode": "auto"}}
    first = merge(
        '[runtime]\nmode = "auto" # why\n', "toml", {"runtime": {"mode": "cdi"}}, usual=usual
    )
    assert parsed(first.text, "toml") == {"runtime": {"mode": "cdi"}}
    back = merge(first.text, "toml", {}, ours=first.ours, usual=usual)
    assert parsed(back.text, "toml") == usual
    assert "# why" in back.text
    with pytest.raises(ConflictError):
        merge('runtime.mode = "csv"', "toml", {"runtime": {"mode": "cdi"}}, usual=usual)


def test_replace_lets_everything_give_way_but_what_stands_where_a_table_must() -> None:
    assert parsed(merge('{"a": 1}', "json", {"a": 2}, replace=True).text, "json") == {"a": 2}
    with pytest.raises(ConflictError):
        merge('{"a": 1}', "json", {"a": {"b": 2}}, replace=True)
    with pytest.raises(ConflictError):
        merge('{"a": {"b": 2}}', "json", {"a": 1}, replace=True)


def test_what_was_ours_makes_room_and_what_is_theirs_in_it_does_not_go() -> None:
    first = merge("{}", "json", {"a": {"b": 1}})
    assert parsed(merge(first.text, "json", {"a": 2}, ours=first.ours).text, "json") == {"a": 2}
    shared = first.text.replace('"b": 1', '"b": 1, "theirs": 2')
    with pytest.raises(ConflictError, match=r'a is {"theirs": 2} there'):
        merge(shared, "json", {"a": 2}, ours=first.ours)
