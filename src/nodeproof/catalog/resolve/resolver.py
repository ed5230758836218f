"""The resolver: ask every rule of every candidate, and take the first without an objection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from nodeproof.catalog.model.base import Entry
from nodeproof.catalog.resolve import build
from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.case import Case, Driver, Finding, Findings
from nodeproof.catalog.resolve.choice import Choice, Nearest, Reason, Refusal
from nodeproof.catalog.resolve.image import imagined
from nodeproof.catalog.resolve.machine import Machine
from nodeproof.catalog.resolve.nearest import changes
from nodeproof.catalog.resolve.rules import cuda, listed, support
from nodeproof.catalog.resolve.spec import is_driver, is_release
from nodeproof.catalog.versions import ordered
from nodeproof.catalog.whole import Catalog

Release = TypeVar("Release", bound=Entry)
ADVISORIES = listed.rule_id(support.advisories_are_met)


@dataclass(frozen=True)
class Said:
    """A finding and the rule it is of."""

    rule: str
    finding: Finding

    def reason(self) -> Reason:
        """Return it as a link of the chain."""
        return Reason(rule=self.rule, text=self.finding.text, sources=self.finding.sources)

    def refusal(self) -> Refusal:
        """Return it as the one thing that is in the way."""
        said = self.finding
        return Refusal(rule=self.rule, text=said.text, hint=said.hint, sources=said.sources)


def resolve(asked: Asked, machine: Machine, catalog: Catalog, today: date) -> Choice | Refusal:
    """Choose what works together, or refuse with the nearest that does.

    Pure: the same question has the same answer, and nothing is read or written. For an image, it is
    asked of the machines that will boot it.
    """
    if asked.image is not None:
        meant = imagined(asked.image, machine.accelerators)
        machine = machine.model_copy(update={"accelerators": meant})
    case = Case(asked, machine, catalog, today)
    answer = _answer(case)
    if isinstance(answer, Choice):
        return answer
    return answer.model_copy(update={"nearest": _nearest(case)})


def _answer(case: Case) -> Choice | Refusal:
    chain: list[Said] = []
    for rule in listed.HOST:
        chain += (said := _asked(rule, case))
        if objections := _objections(said):
            return objections[0].refusal()
    driver: Driver | None = None
    if case.wants_driver:
        found = _driver(case)
        if isinstance(found, Refusal):
            return found
        driver, said = found
    else:
        said = _asked(cuda.toolkits_run_on_the_driver, case, case.present)
        if objections := _objections(said):
            return objections[0].refusal()
    chain += said
    releases: dict[str, str] = {}
    for key, release in _releases(case):
        if isinstance(release, Refusal):
            return release
        releases[key], said = release
        chain += said
    reasons = tuple(one.reason() for one in chain if one.finding.kind == "because")
    warnings = tuple(one.reason() for one in chain if one.finding.kind == "warning")
    return build.choice(case, driver, releases, reasons, warnings)


def _asked(rule: Callable[..., Findings], *about: Any) -> list[Said]:
    return [Said(listed.rule_id(rule), finding) for finding in rule(*about)]


def _objections(said: list[Said]) -> list[Said]:
    return [one for one in said if one.finding.kind == "no"]


def _driver(case: Case) -> tuple[Driver, list[Said]] | Refusal:
    """Return the newest driver without an objection, or the least objected one's first objection.

    An advisory never makes an older driver the choice: where it alone is in the way of one, older
    ones are not tried.
    """
    least: list[Said] = []
    blocked: Driver | None = None
    for driver in _candidates(case):
        if blocked is not None and ordered(driver.version) < ordered(blocked.version):
            break
        said = [one for rule in listed.DRIVER for one in _asked(rule, case, driver)]
        objections = _objections(said)
        if not objections:
            return driver, said
        if {one.rule for one in objections} == {ADVISORIES}:
            blocked = blocked or driver
        if not least or len(objections) < len(least):
            least = objections
    if least:
        return least[0].refusal()
    return Refusal(
        rule="spec.driver-is-known",
        text=f"no driver {case.asked.driver} is in the catalog",
        hint="its branches are " + ", ".join(case.catalog.branches),
    )


def _candidates(case: Case) -> Iterator[Driver]:
    """Yield what is asked for, newest first, each with the modules that drive the GPUs best."""
    if case.asked.installed == "keep" and case.present is not None:
        yield case.present
        return
    auto = tuple(dict.fromkeys(one for card in case.nvidia for one in card.modules))
    kinds = auto if case.asked.modules == "auto" else (case.asked.modules,)
    versions = [
        (version, name, branch)
        for name, branch in case.catalog.branches.items()
        for version in branch.versions
        if is_driver(version, branch, case.asked.driver)
    ]
    there = case.archive.values()
    best = sorted(versions, key=lambda one: (one[0] in there, ordered(one[0])), reverse=True)
    for version, name, branch in best:
        for kind in kinds:
            yield Driver(version, name, branch, kind)


def _releases(case: Case) -> Iterator[tuple[str, tuple[str, list[Said]] | Refusal]]:
    """Yield what other makers' releases are chosen, by what asks for them."""
    if case.wants_rocm:
        known = case.catalog.rocm_releases
        yield "rocm", _release(case, "rocm", "ROCm", known, listed.ROCM)
    if case.wants_intel:
        vendors = {card.vendor for card in case.intel}
        every = case.catalog.intel_releases
        theirs = {name: one for name, one in every.items() if one.vendor in vendors}
        yield "intel", _release(case, "intel", "release of Intel's", theirs, listed.INTEL)


def _release(
    case: Case,
    key: str,
    what: str,
    known: Mapping[str, Release],
    rules: Sequence[Callable[[Case, str, Release], Findings]],
) -> tuple[str, list[Said]] | Refusal:
    """Return the newest release without an objection, or the least objected one's first."""
    wish: str = getattr(case.asked, key)
    fit = [one for one in known.items() if is_release(one[0], wish)]
    least: list[Said] = []
    for name, release in sorted(fit, key=lambda one: ordered(one[0]), reverse=True):
        said = [one for rule in rules for one in _asked(rule, case, name, release)]
        objections = _objections(said)
        if not objections:
            return name, said
        if not least or len(objections) < len(least):
            least = objections
    if least:
        return least[0].refusal()
    return Refusal(
        rule=f"spec.{key}-is-known",
        text=f"no {what} {wish} is in the catalog",
        hint=f"its releases are {', '.join(known)}",
    )


def _nearest(case: Case) -> Nearest | None:
    """Return the smallest change of the settings with which there is a choice."""
    for change in changes(case):
        asked = case.asked.model_copy(update=change)
        answer = _answer(Case(asked, case.machine, case.catalog, case.today))
        if isinstance(answer, Choice):
            return Nearest(settings=change, text=build.summary(answer))
    return None
