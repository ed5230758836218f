"""What a package manager would do for packages at exact versions, and whether it may."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nodeproof.repositories.trouble import FULL, meaning

_RELATION = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?::\w+)?(?: \((?P<sign>[<>=]+) (?P<version>[^)]+)\))?"
)


_UNMET = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?::\w+)? : (?:Pre)?(?P<how>Depends|Conflicts|Breaks): "
    r"(?P<what>[^()]*(?:\([^)]*\))?)(?P<why>.*)"
)


@dataclass(frozen=True)
class Act:
    """One package that would change; `now` is empty where it comes, `then` where it goes."""

    name: str
    now: str
    then: str
    older: bool = False
    """Whether it would go back to an older version."""
    lost: bool = False
    """Whether no repository offers its present version any more."""


@dataclass(frozen=True)
class Transaction:
    """What would be done."""

    wants: Mapping[str, str] = field(default_factory=dict)
    """Name to version: what was asked for, and what fits it only in one version."""
    acts: tuple[Act, ...] = ()
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What was asked for, to the versions that repositories have."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """What would be removed, to what it needs."""
    against: Mapping[str, str] = field(default_factory=dict)
    """What would be installed, to what it cannot be with."""
    said: tuple[str, ...] = ()
    """The package manager's own words, where it found no way."""
    wrong: tuple[str, ...] = ()
    """What is not installed as it was asked for, though it was tried: NAME=VERSION."""
    works: bool = True

    @property
    def lost(self) -> list[str]:
        """What could not be brought back, a sentence each."""
        return [
            f"{act.name} {act.now} would be replaced or removed, and no repository offers that "
            "version"
            for act in self.acts
            if act.lost
        ]


def transaction(lines: Sequence[str]) -> Transaction:
    """Read what a script on the node has printed."""
    rows = [line.split("|") for line in lines]

    def of(kind: str) -> list[list[str]]:
        return [row[1:] for row in rows if row[0] == kind]

    offers: dict[str, list[str]] = {}
    for name, version in of("offers"):
        if version not in offers.setdefault(name, []):
            offers[name].append(version)
    against: dict[str, str] = {}
    for name, *text in of("against"):
        against[name] = ", ".join(filter(None, [against.get(name), *text]))
    acts = [
        Act(name.partition(":")[0], now, then, older="older" in how, lost="lost" in how)
        for name, now, then, how in [*of("Inst"), *of("Remv")]
    ]
    return Transaction(
        wants=dict("|".join(row).split("=", 1) for row in of("wants")),
        acts=tuple(acts),
        offers={name: tuple(versions) for name, versions in offers.items()},
        needs={name: "|".join(text) for name, *text in of("needs")},
        against=against,
        said=tuple("|".join(row) for row in of("said")),
        wrong=tuple("|".join(row) for row in of("wrong")),
        works=not any(row != ["0"] for row in of("code")),
    )


def refusal(
    found: Transaction,
    asked: Mapping[str, str],
    going: Collection[str],
    held: Collection[str] = (),
    allow_downgrade: bool = False,
) -> str:
    """Return why it may not be done, in one sentence, or nothing.

    `going` is what may be removed, `held` what somebody has nailed down.
    """
    for name, version in sorted(asked.items()):
        offers = found.offers.get(name, ())
        if found.wants and version not in offers:
            return _not_offered(name, version, offers)
    if not found.works:
        return _no_way(found, held)
    if found.wrong:
        return f"{', '.join(found.wrong)} should be installed now, and is not"
    for act in found.acts:
        if not act.then and act.name not in going:
            return (
                f"{act.name} {act.now} would be removed, because {_why(act, found)}; name it to be "
                "removed with the others, or choose versions that it can stay with"
            )
        if act.older and not (allow_downgrade and act.name in found.wants):
            return (
                f"{act.name} would go back from {act.now} to {act.then}; allow downgrades if that "
                "is meant, or choose a version that is not older"
            )
        if act.name in held and act.name not in {*found.wants, *going}:
            return (
                f"{act.name} is held at {act.now}, and would become {act.then or 'absent'}; name "
                "it, too, or take it off hold"
            )
    return ""


def _not_offered(name: str, version: str, offers: Sequence[str]) -> str:
    has = f"there are {', '.join(offers[:6])}" if offers else "there is none at all"
    return (
        f"no repository offers {name} {version}: {has}; choose one of those, or add the repository "
        "that has it"
    )


def _no_way(found: Transaction, held: Collection[str]) -> str:
    """Return what a package manager says of packages that do not fit."""
    unmet = [row for line in found.said if (row := _UNMET.match(" ".join(line.split())))]
    together = sorted({row["name"] for row in unmet if row["how"] != "Depends"})
    if len(together) > 1:
        return (
            f"{' and '.join(together)} cannot be installed together; name the one that goes to be "
            "removed"
        )
    if unmet:
        # Whoever stands in the way was there before: it is not among what is asked for.
        row = min(unmet, key=lambda one: one["name"] in found.wants)
        kept = ", which is held," if row["name"] in held else ""
        why = row["why"].replace("is to be installed", "would be installed")
        why = why.replace("it is not going to be installed", "that would not be installed")
        return (
            f"{row['name']}{kept} needs {row['what']}, {why.strip()}; choose versions that belong "
            f"together, or name {row['name']}, too"
        )
    errors = [one for one in found.said if one.startswith("E:") or re.search(FULL, one)]
    return meaning("the repository of these packages", errors or found.said)


def _why(act: Act, found: Transaction) -> str:
    """Return why a package would be removed."""
    becomes = {one.name: one.then for one in found.acts}
    for relation in found.needs.get(act.name, "").split(","):
        parsed = _RELATION.match(relation.strip())
        name = parsed["name"] if parsed else ""
        if "|" in relation or name not in becomes or not parsed:
            continue
        if not becomes[name]:
            return f"it needs {name}, which would be removed, too"
        if parsed["version"]:
            return f"it needs {relation.strip()}, which would become {becomes[name]}"
    for name, relations in found.against.items():
        for relation in relations.split(","):
            parsed = _RELATION.match(relation.strip())
            if parsed and parsed["name"] == act.name:
                return f"{name} {becomes.get(name, '')} cannot be installed together with it"
    return "it does not fit what is asked for"
