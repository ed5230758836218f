"""For every test: pyinfra's greenlets first, and nothing of the user's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from nodeproof.engine.adapter import prepare_process

prepare_process()  # as the command line does, before anything that it patches is in use
# Whoever starts us in the background may have it ignored; what we start must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Insist on groups: tests that share a node fail in strange ways where workers share them."""
    grouped = any("@" in one.rpartition("]")[2] for one in ids)
    if node.config.getoption("dist") == "loadgroup" and ids and not grouped:
        pytest.exit("this pytest-xdist does not group tests with this pytest", returncode=4)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed one: what cannot run here must not look done."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") == "true" and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI: {len(skipped)} skipped tests count as failed", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
