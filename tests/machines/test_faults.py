"""A sample of the fault campaign; all of it is `make faults`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.attempts
KINDS = (
    *("controller_killed_at_change", "power_reset_while_armed", "journal_killed"),
    *("disk_full_var", "session_killed", "user_edits"),
)
ROOT = Path(__file__).parents[2]


def test_a_sample_of_faults_loses_nothing() -> None:
    """Six faults of six kinds, always the same ones."""
    argv = [sys.executable, "-m", "tests.faults", "--seed", "20", "--kinds", ",".join(KINDS)]
    done = subprocess.run(
        [*argv, "--count", "6", "--full", "0", "--workers", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "6 faults of 6 kinds, 0 lost"
