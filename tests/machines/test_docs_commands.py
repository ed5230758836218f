"""The documentation's commands that need a lab, page by page, from `lab up` on."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeproof.lab import Lab, store
from tests.docs_commands import Tier, scripts
from tests.docs_runner import run

pytestmark = pytest.mark.machines
PAGES = scripts(Tier.MACHINES)
SLOW_S = 3600
"""Without KVM, installing Docker alone takes minutes."""


@pytest.mark.parametrize("page", PAGES)
def test_commands_do_what_the_page_says(page: str, tmp_path: Path) -> None:
    labs = tmp_path / "labs"
    environment = {
        "NODEPROOF_CACHE_DIR": str(store.cache_dir()),
        "NODEPROOF_LAB_DIR": str(labs),
    }
    try:
        run(PAGES[page], tmp_path, environment=environment, seconds=SLOW_S)
    finally:
        Lab("lab", labs).down(purge=True)
