"""The documentation's commands that need machines, page by page, on two virtual machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeproof.catalog.distributions import distributions
from nodeproof.lab import Lab, Machine, store
from tests.docs_commands import Tier, scripts
from tests.docs_runner import run, stand_in

pytestmark = pytest.mark.machines
PAGES = scripts(Tier.MACHINES)
DISTRIBUTION = "debian-13"
SLOW_S = 3600
"""Without KVM, installing Docker alone takes minutes."""


@pytest.fixture
def machines(page: str, tmp_path: Path) -> Iterator[list[Machine]]:
    """Node1 and node2 of the pages that speak of machines of one's own."""
    if page != "README.md":
        yield []
        return
    wanted = [name for names in distributions()[DISTRIBUTION].packages.values() for name in names]
    lab = Lab("own", tmp_path / "labs" / "own")
    try:
        yield lab.up(["node1", "node2"], distribution=DISTRIBUTION, preinstall=wanted)
    finally:
        lab.down(purge=True)


@pytest.mark.parametrize("page", PAGES)
def test_commands_do_what_the_page_says(page: str, machines: list[Machine], tmp_path: Path) -> None:
    stand_in(tmp_path, machines)
    environment = {
        "NODEPROOF_CACHE_DIR": str(store.cache_dir()),
        "NODEPROOF_LAB_DIR": str(tmp_path / "labs"),
    }
    try:
        run(PAGES[page], tmp_path, environment=environment, seconds=SLOW_S)
    finally:
        Lab("lab", tmp_path / "labs" / "lab").down(purge=True)
