"""A fresh machine for each story."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeproof.lab import Lab, Machine
from tests.support import write_inventory


@pytest.fixture(scope="class")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A fresh machine of the class's distribution, gone with it."""
    lab = Lab(f"story-{request.cls.__name__.lower()}")
    if lab.machines():
        lab.down(purge=True)
    yield lab.up(["node1"], distribution=request.cls.distribution)[0]
    lab.down(purge=True)


@pytest.fixture(scope="class")
def inventory(
    machine: Machine, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The machine with its story's settings."""
    return write_inventory(tmp_path_factory.mktemp("story"), [machine], request.cls.site)
