"""For every test: pyinfra's greenlets first, and nothing of the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodeproof.engine.adapter import prepare_process

prepare_process()  # as the command line does, before anything that it patches is in use

if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker waits for work that a real thread brings; a loop with nothing to wait for would
    # call that a deadlock.
    import gevent

    gevent.spawn(gevent.sleep, 10**6)


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep results of runs away from those of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("NODEPROOF_STATE_DIR", str(folder))
    return folder


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed one: what cannot run here must not look done."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") == "true" and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI: {len(skipped)} skipped tests count as failed", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
