"""Properties of the resolver, on machines and wishes that nobody thought of."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.unit.resolve_cases import KERNELS, TODAY, a_machine
from tests.unit.resolve_oracle import (
    ADVISORY,
    asked_for,
    choice_complaints,
    driver_complaints,
    numbers,
)

from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.choice import Choice, Refusal
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.rules import listed
from nodeproof.catalog.resolve.text import told
from nodeproof.catalog.whole import Catalog, shipped

CATALOG = shipped()
NVIDIA = sorted(name for name, one in CATALOG.products.items() if one.vendor == "nvidia")
MODERN = [
    name for name in NVIDIA if CATALOG.architectures[CATALOG.products[name].architecture].first_cuda
]
VERSIONS = [one.version for branch in CATALOG.branches.values() for one in branch.releases]
RULES = {*listed.IDS, "spec.driver-is-known", "spec.rocm-is-known", "spec.intel-is-known"}
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

wishes = st.one_of(
    st.sampled_from(["lts", "latest-production", "latest"]),
    st.sampled_from(["580", "595", "620", "580.178.04"]),
    st.sampled_from([*CATALOG.branches]),
    st.sampled_from(VERSIONS),
    st.sampled_from([">=580", "<620", ">=575,<600", "!=620.70.06", "~=580.95", ">=580.100,<581"]),
)
gpus = st.one_of(
    st.lists(st.sampled_from(NVIDIA), min_size=1, max_size=1),
    st.lists(st.sampled_from(MODERN), min_size=1, max_size=3),
    st.lists(st.sampled_from(NVIDIA), min_size=2, max_size=2),
)
drivers = st.builds(
    "{} {} {}".format,
    st.sampled_from(VERSIONS),
    st.sampled_from(["vendor-repository", "distribution", "runfile", "unknown"]),
    st.sampled_from(["open", "proprietary", "unknown"]),
)


@st.composite
def machines(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a machine as the tables write it."""
    on: dict[str, Any] = {
        "gpus": draw(gpus),
        "os": draw(st.sampled_from([*KERNELS])),
        "arch": draw(st.sampled_from(["x86_64", "x86_64", "aarch64"])),
        "secure_boot": draw(st.sampled_from([*[False] * 6, True, None])),
        "nvswitches": draw(st.sampled_from([0, 0, 4])),
        "platform": draw(st.sampled_from([*["bare"] * 6, "vm", "vm", "wsl2", "image-based"])),
        "nouveau": draw(st.booleans()),
    }
    if draw(st.integers(0, 5)) == 0:
        on["driver"] = draw(drivers)
    return on


askings = st.fixed_dictionaries(
    {"driver": wishes},
    optional={
        "modules": st.sampled_from(["auto", "open", "proprietary"]),
        "installed": st.sampled_from(["refuse", "replace", "keep"]),
        "secure_boot": st.sampled_from(["refuse", "mok"]),
        "mig": st.booleans(),
        "gds": st.booleans(),
        "cuda": st.lists(
            st.sampled_from(["13", "13.0", "12.8", ">=12.4,<13", "latest", "11"]),
            max_size=2,
            unique=True,
        ),
        "forward_compat": st.booleans(),
        "minor_version_compat": st.booleans(),
        "allow_end_of_life": st.lists(
            st.sampled_from([*CATALOG.branches]), max_size=2, unique=True
        ),
        "allow_insecure": st.lists(
            st.sampled_from(["nvidia-5821", "nvidia-5861"]), max_size=2, unique=True
        ),
    },
)


@FEW
@given(on=machines(), ask=askings)
def test_a_choice_breaks_nothing(on: dict[str, Any], ask: dict[str, Any]) -> None:
    machine, asked = a_machine(on), Asked.model_validate(ask)
    answer = resolve(asked, machine, CATALOG, TODAY)
    event(answer.verdict)
    if isinstance(answer, Choice):
        assert not [*choice_complaints(answer, asked, machine, CATALOG, TODAY)], told(answer)
        assert answer.reasons, "a choice without a reason"


@FEW
@given(on=machines(), ask=askings)
def test_a_refusal_explains_itself(on: dict[str, Any], ask: dict[str, Any]) -> None:
    machine, asked = a_machine(on), Asked.model_validate(ask)
    answer = resolve(asked, machine, CATALOG, TODAY)
    if isinstance(answer, Choice):
        return
    event(answer.rule)
    assert answer.rule in RULES
    assert answer.text
    assert "\n" not in f"{answer.text}{answer.hint}"
    if answer.nearest:
        assert not [key for key in answer.nearest.settings if key.startswith("allow_")]
        changed = Asked.model_validate({**asked.model_dump(), **answer.nearest.settings})
        again = resolve(changed, machine, CATALOG, TODAY)
        assert isinstance(again, Choice)
        assert not [*choice_complaints(again, changed, machine, CATALOG, TODAY)], told(again)


@FEW
@given(
    gpus=gpus,
    where=st.sampled_from([*KERNELS]),
    wish=wishes,
    modules=st.sampled_from(["auto", "open", "proprietary"]),
    ended=st.lists(st.sampled_from([*CATALOG.branches]), max_size=2, unique=True),
    today=st.dates(date(2026, 1, 1), date(2030, 1, 1)),
)
def test_the_newest_that_works_is_chosen_and_nothing_is_refused_that_works(
    gpus: list[str], where: str, wish: str, modules: str, ended: list[str], today: date
) -> None:
    machine = a_machine({"gpus": gpus, "os": where})
    asked = Asked.model_validate(
        {"driver": wish, "modules": modules, "allow_end_of_life": ended, "secure_boot": "mok"}
    )
    answer = resolve(asked, machine, CATALOG, today)
    kinds = ["open", "proprietary"] if modules == "auto" else [modules]
    best = None
    for version in sorted(VERSIONS, key=numbers, reverse=True):
        if not asked_for(version, CATALOG, wish):
            continue
        complaints = [
            [*driver_complaints(version, kind, asked, machine, CATALOG, today)] for kind in kinds
        ]
        if [] in complaints:
            best = version
            break
        if any(all(one.startswith(ADVISORY) for one in some) for some in complaints):
            break  # an advisory never makes an older one the choice
    conflict = best == "550.163.01" and where == "debian-13"
    event("chosen" if best else "refused")
    if isinstance(answer, Choice):
        assert answer.driver
        assert answer.driver.version == best, told(answer)
    else:
        assert best is None or conflict, told(answer)


@st.composite
def advisories(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a new advisory about drivers."""
    names = draw(st.lists(st.sampled_from([*CATALOG.branches]), max_size=4, unique=True))
    fixed = {
        name: draw(st.sampled_from([*CATALOG.branches[name].versions, f"{name}.999.99"]))
        for name in names
    }
    published = TODAY - timedelta(days=draw(st.integers(0, 400)))
    return {"fixed": fixed, "published": published, "refuses": draw(st.booleans())}


def with_advisory(advisory: dict[str, Any]) -> Catalog:
    newest = CATALOG.advisories["nvidia-5861"].model_copy(update=advisory)
    return CATALOG.model_copy(update={"advisories": {**CATALOG.advisories, "new-one": newest}})


@FEW
@given(on=machines(), ask=askings, advisory=advisories())
def test_an_advisory_never_makes_an_older_driver_the_choice(
    on: dict[str, Any], ask: dict[str, Any], advisory: dict[str, Any]
) -> None:
    machine, asked = a_machine(on), Asked.model_validate(ask)
    before = resolve(asked, machine, CATALOG, TODAY)
    after = resolve(asked, machine, with_advisory(advisory), TODAY)
    if isinstance(before, Choice) and isinstance(after, Choice) and before.driver and after.driver:
        event("both chosen")
        assert numbers(after.driver.version) >= numbers(before.driver.version)
        assert after.driver.modules == before.driver.modules
    elif isinstance(before, Choice) and isinstance(after, Refusal):
        event("refused now")
        assert after.rule == "support.advisories-are-met"
