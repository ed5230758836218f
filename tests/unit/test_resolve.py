"""The resolver against tables of facts: what is chosen, what is refused, and what would work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.resolve_cases import KEYS, TODAY, a_catalog, a_machine, asked, cases

from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.choice import Choice, Refusal
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.rules import listed
from nodeproof.catalog.resolve.text import told
from nodeproof.catalog.whole import shipped

CASES = [pytest.param(case, id=f"{case['table']}: {case['case']}") for case in cases()]
CHOSEN = [one for one in CASES if "gives" in one.values[0]]
REFUSED = [one for one in CASES if "refused" in one.values[0]]


def answered(case: Mapping[str, Any]) -> Choice | Refusal:
    catalog = a_catalog(case["catalog"]) if "catalog" in case else shipped()
    on = a_machine(case["machine"], case.get("class", "030200"))
    return resolve(asked(case), on, catalog, case.get("today", TODAY))


def texts(reasons: tuple[Any, ...]) -> str:
    return "\n".join(reason.text for reason in reasons)


@pytest.mark.parametrize("case", CHOSEN)
def test_chosen(case: Mapping[str, Any]) -> None:
    answer = answered(case)
    assert isinstance(answer, Choice), told(answer)
    for what, expected in case["gives"].items():
        assert GIVEN[what](answer) == expected if what != "without" else True, told(answer)
    assert not {*case["gives"].get("without", ())} & {one.id for one in answer.companions}
    if "companions" in case["gives"]:
        exact = [one for one in answer.companions if one.exact]
        assert answer.driver
        assert all(one.version == answer.driver.version for one in exact)
    packages = {name for one in answer.companions for name in one.packages}
    assert {*case.get("with", ())} <= packages
    assert case.get("warns", "") in texts(answer.warnings)
    assert case.get("because", "") in texts(answer.reasons)
    assert "quiet" not in case or case["quiet"] not in texts(answer.warnings)
    assert case.get("step", "") in "\n".join(answer.steps)


GIVEN: dict[str, Any] = {
    "driver": lambda answer: answer.driver and answer.driver.version,
    "modules": lambda answer: answer.driver and answer.driver.modules,
    "origin": lambda answer: answer.driver and answer.driver.origin,
    "packages": lambda answer: [*answer.driver.packages],
    "pin": lambda answer: answer.driver.pin,
    "place": lambda answer: answer.driver.place.repository,
    "key": lambda answer: (answer.driver or answer.rocm or answer.intel).place.fingerprint,
    "companions": lambda answer: Some({one.id: one.version for one in answer.companions}),
    "cuda": lambda answer: [f"{one.version} {one.runs}" for one in answer.cuda],
    "compat": lambda answer: answer.cuda[0].compat_package,
    "cuda_place": lambda answer: answer.cuda_place.repository,
    "rocm": lambda answer: answer.rocm and answer.rocm.version,
    "intel": lambda answer: answer.intel and answer.intel.version,
    "container_toolkit": lambda answer: answer.container_toolkit.version,
    "toolkit_place": lambda answer: answer.container_toolkit.place.repository,
    "toolkit_suite": lambda answer: answer.container_toolkit.place.suite,
    "steps": lambda answer: [*answer.steps],
}


class Some(dict[str, str]):
    """Equal to what it holds, whatever else it holds."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and {**self, **other} == {**self}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: Mapping[str, Any]) -> None:
    answer = answered(case)
    assert isinstance(answer, Refusal), told(answer)
    assert answer.rule == case["refused"], told(answer)
    assert answer.text
    assert case.get("says", "") in f"{answer.text} {answer.hint}"
    if "nearest" in case:
        assert answer.nearest, told(answer)
        assert answer.nearest.settings == case["nearest"], told(answer)
    if answer.nearest:
        assert not [key for key in answer.nearest.settings if key.startswith("allow_")]
        changed = {**case, "ask": {**case.get("ask", {}), **answer.nearest.settings}}
        assert isinstance(answered(changed), Choice), "what is offered is no choice"


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 350
    assert len(CHOSEN) >= 180
    assert len(REFUSED) >= 160
    assert len({one.id for one in CASES}) == len(CASES)


def test_a_case_says_one_thing() -> None:
    for case in cases():
        assert {*case} <= KEYS, f"{case['case']}: a key that no test looks at"
        assert ("gives" in case) != ("refused" in case), case["case"]


def test_no_rule_is_idle() -> None:
    """Each rule is the reason of a refusal in some case."""
    idle = {*listed.IDS} - {case["refused"] for case in cases() if "refused" in case}
    assert not idle


def test_every_rule_says_what_it_is_about() -> None:
    assert len({*listed.IDS}) == len(listed.IDS)
    assert all((rule.__doc__ or "").endswith(".") for rule in listed.EVERY)


def test_the_same_question_has_the_same_answer() -> None:
    for case in cases():
        first, second = answered(case), answered(case)
        assert first == second, case["case"]
        assert told(first) == told(second)


def test_text_names_what_where_and_why() -> None:
    (case,) = (one for one in cases() if one["case"] == "NVSwitches need the fabric manager")
    text = told(answered(case))
    assert text.startswith("chosen: driver 580.178.04 (open)")
    assert "nvidia-fabricmanager = 580.178.04" in text
    assert "[beside.companions-match-the-driver]" in text


@pytest.mark.parametrize(
    "ask",
    [
        {"driver": "newest"},
        {"driver": "58"},
        {"driver": "580; reboot"},
        {"driver": "$(id)"},
        {"driver": ">=580,<<600"},
        {"driver": "580\n"},
        {"cuda": ["13.x"]},
        {"cuda": ["13", "13"]},
        {"rocm": "best"},
        {"intel": "lts"},
        {"repository_key": "9DC85822"},
        {"allow_insecure": ["5861; true"]},
        {"allow_end_of_life": ["R570"]},
        {"drivers": "580"},
    ],
)
def test_what_cannot_be_asked(ask: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Asked.model_validate(ask)
