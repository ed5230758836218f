"""Container nodes, two of each distribution, for the whole session."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest

from nodeproof.lab import ContainerNode, containers

PREINSTALL = ("nftables", "rsync", "tzdata")
"""In the one root of a distribution: the tests are about nodeproof, not about dpkg's speed."""

DISTRIBUTIONS = [
    pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("debian-12", "debian-13")
]
"""A distribution's tests share its nodes, so one worker runs them all."""


def spread(
    metafunc: pytest.Metafunc, fixture: str, everywhere: Collection[str], group: str
) -> None:
    """Ask of both distributions what depends on them: the tests named; the rest of the newest.

    Nodes of a module's own are in groups of their own, one worker each.
    """
    if fixture in metafunc.fixturenames:
        names = (
            ["debian-12", "debian-13"]
            if metafunc.function.__name__ in everywhere
            else ["debian-13"]
        )
        params = [
            pytest.param(name, marks=pytest.mark.xdist_group(f"{group}-{name}")) for name in names
        ]
        metafunc.parametrize(fixture, params, indirect=True, scope="module")


@pytest.fixture(scope="session", params=DISTRIBUTIONS)
def pair(request: pytest.FixtureRequest) -> Iterator[list[ContainerNode]]:
    """Two running nodes of one distribution."""
    short = request.param.replace("debian-", "d")
    with containers([f"{short}-a", f"{short}-b"], request.param, preinstall=PREINSTALL) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def trixie() -> Iterator[list[ContainerNode]]:
    """Two nodes that tests may break."""
    with containers(["fault-a", "fault-b"], "debian-13", preinstall=PREINSTALL) as nodes:
        yield nodes
