"""Whether its maker still mends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from nodeproof.catalog.model.driver import Branch
from nodeproof.catalog.model.stack import Advisory, Subject
from nodeproof.catalog.resolve.case import Case, Driver, Finding, Findings, because, no, warn
from nodeproof.catalog.versions import is_in_series, ordered


def branch_is_maintained(case: Case, driver: Driver) -> Findings:
    """A branch that ended gets no more security fixes."""
    ended = driver.branch.end_of_life
    if ended is None:
        yield because(
            f"R{driver.name} has no end of life that was published", driver.branch.sources
        )
    elif ended >= case.today:
        yield because(
            f"R{driver.name} ({driver.branch.kind}) is maintained until {ended}",
            driver.branch.sources,
        )
    elif driver.name in case.asked.allow_end_of_life:
        yield warn(f"R{driver.name} ended on {ended}", driver.branch.sources)
    else:
        yield no(
            f"R{driver.name} ended on {ended}",
            f"choose a newer branch, or name {driver.name} in allow_end_of_life",
            driver.branch.sources,
        )


def advisories_are_met(case: Case, driver: Driver) -> Findings:
    """An advisory is a floor, and a branch without a fix is below it."""
    for name, advisory in open_advisories(case, driver):
        fixed = advisory.fixed.get(driver.name)
        text = (
            f"driver {driver.version} is older than {fixed}, which mends {name}"
            if fixed
            else f"R{driver.name} got no fix for {name} of {advisory.published}"
        )
        yield judged(case, name, advisory, text)


def judged(case: Case, name: str, advisory: Advisory, text: str) -> Finding:
    """Object to what an advisory is about, unless it only warns or the settings accept it."""
    if name in case.asked.allow_insecure:
        return warn(f"{text}; accepted in allow_insecure", advisory.sources)
    if not advisory.refuses:
        return warn(text, advisory.sources)
    return no(text, f"{advisory.url}; or name {name} in allow_insecure", advisory.sources)


def open_advisories(case: Case, driver: Driver) -> Iterator[tuple[str, Advisory]]:
    """Yield the advisories that a driver does not meet, newest first.

    Fixes add up: what lists a branch settles all older advisories for it. One that does not list a
    branch which was there on its day says that there is no fix; one from before its first release
    is not about it.
    """
    settled: date | None = None
    for name, advisory in of_subject(case, "driver"):
        fixed = advisory.fixed.get(driver.name)
        if fixed:
            settled = settled or advisory.published
            if ordered(driver.version) < ordered(fixed):
                yield name, advisory
        elif settled is None and _was_there(driver.branch, advisory.published):
            yield name, advisory


def of_subject(case: Case, subject: Subject) -> list[tuple[str, Advisory]]:
    """Return the advisories about one thing, newest first."""
    about = [item for item in case.catalog.advisories.items() if item[1].subject == subject]
    return sorted(about, key=lambda item: (item[1].published, item[0]), reverse=True)


def _was_there(branch: Branch, day: date) -> bool:
    """Tell whether a branch was out on a day; one of which no date is known was."""
    began = branch.released or min(
        (one.released for one in branch.releases[:1] if one.released), default=date.min
    )
    return began <= day


def below(case: Case, subject: Subject, version: str) -> Iterator[tuple[str, Advisory, str]]:
    """Yield the advisories that a version of something else does not meet, and what would do."""
    for name, advisory in of_subject(case, subject):
        for series, fixed in advisory.fixed.items():
            if (series == "all" or is_in_series(version, series)) and ordered(version) < ordered(
                fixed
            ):
                yield name, advisory, fixed
