"""Run the checks and return verdicts in the result model."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from typing import Protocol

import pytest

from nodeproof import __version__
from nodeproof.checks.exceptions import exceptions, judged, remarks
from nodeproof.checks.plugin import Given, control_ids, layer_of, node_name
from nodeproof.checks.sessions import Sessions
from nodeproof.engine.adapter.inventory import Fleet
from nodeproof.engine.journal import run_id
from nodeproof.engine.result import Check, Command, Exempted, Node, NodeStatus, Result, Verdict
from nodeproof.engine.run import failed_node
from nodeproof.errors import NodeproofError
from nodeproof.evidence.score import scored

LONGEST_REASON = 2000
MEASURED = "measured"
"""Under this name a check records what it measured."""


class Watcher(Protocol):
    """Whoever wants to know how the checks come out."""

    def node(self, host: str, doing: str) -> None:
        """Say that a host has begun something."""

    def check(self, host: str, check: Check) -> None:
        """Say that one check has come out."""

    def done(self, node: Node) -> None:
        """Say that a host is finished."""


class _Recorder:
    """Turns pytest's reports into checks."""

    def __init__(self, watcher: Watcher, exceptions: Mapping[str, list[Exempted]]) -> None:
        self._watcher = watcher
        self._exceptions = exceptions
        self.checks: dict[str, list[Check]] = defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Function, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note a check when it has run, or when its setup kept it from running."""
        report = yield
        if report.when == "call" or (report.when == "setup" and not report.passed):
            name = node_name(item)
            measured = report.when == "call" and (not call.excinfo or _by_verdict(call.excinfo))
            check = _check(item, report, looked=report.skipped or measured)
            check = judged(check, self._exceptions[name])
            self.checks[name].append(check)
            self._watcher.check(name, check)
        return report


def _by_verdict(error: pytest.ExceptionInfo[BaseException]) -> bool:
    """Tell whether a check ended by what it found, rather than by breaking."""
    return isinstance(error.value, AssertionError | pytest.fail.Exception)


def verify(
    fleet: Fleet,
    layers: tuple[str, ...],
    ask_password: Callable[[str], str],
    watcher: Watcher,
    *,
    burn_in: int = 0,
    standards: tuple[str, ...] = (),
) -> Result:
    """Check every node of the fleet and return the verdicts; changes nothing.

    `burn_in` is the number of seconds that a part of a GPU's burn-in takes; 0 does without. With
    `standards`, only checks of controls that serve one of them are run.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    sessions = Sessions(fleet, ask_password, layers, watcher.node)
    sessions.connect()
    today = started.date()
    found = {name: exceptions(node.settings, layers, today) for name, node in sessions.open.items()}
    recorder = _Recorder(watcher, found)
    nodes = [failed_node(name, error) for name, error in sessions.failed.items()]
    facts = {name: node.facts.model_dump(mode="json") for name, node in sessions.open.items()}
    trips = {name: node.session for name, node in sessions.open.items()}
    interrupted = False
    if sessions.open:
        interrupted = _pytest(sessions, layers, recorder, burn_in, standards)
    for name in facts:
        checks = recorder.checks[name]
        failed = sum(check.verdict is Verdict.FAILED for check in checks)
        node = Node(
            name=name,
            status=NodeStatus.FAILED if failed else NodeStatus.OK,
            reason=f"{failed} of {len(checks)} checks failed" if failed else "",
            notes=list(remarks(found[name], today)),
            facts=facts[name],
            checks=checks,
            exceptions=found[name],
            round_trips=trips[name].round_trips,
            duration_s=round(sum(check.duration_s for check in checks), 3),
        )
        nodes.append(node)
        watcher.done(node)
    order = {name: position for position, name in enumerate(fleet.names)}
    result = Result(
        command=Command.VERIFY,
        run=run_id(started),
        version=__version__,
        inventory=fleet.source,
        started=started.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - clock, 3),
        nodes=sorted(nodes, key=lambda node: order[node.name]),
        standards=list(standards),
        interrupted=interrupted,
    )
    return scored(result)


def _pytest(
    sessions: Sessions,
    layers: tuple[str, ...],
    recorder: _Recorder,
    burn_in: int,
    standards: tuple[str, ...],
) -> bool:
    """Run pytest without the user's own configuration; return whether it was interrupted."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    arguments = [
        *("-c", os.devnull, "--rootdir", os.sep, "-p", "no:cacheprovider", "-p", "no:terminal"),
        *("-p", "testinfra.plugin", "-p", "nodeproof.checks.plugin"),
        *(f"--layer={layer}" for layer in layers),
        *(f"--standard={standard}" for standard in standards),
        f"--burn-in={burn_in}",
        *("--pyargs", "nodeproof.layers"),
    ]
    code = pytest.main(arguments, plugins=[recorder, Given(sessions.reached())])
    if code == pytest.ExitCode.INTERRUPTED:
        return True
    if code not in (
        pytest.ExitCode.OK,
        pytest.ExitCode.TESTS_FAILED,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        raise NodeproofError(f"verify: the checks could not be run (pytest exit code {int(code)})")
    return False


def _check(item: pytest.Function, report: pytest.TestReport, *, looked: bool) -> Check:
    node = item.callspec.params["_testinfra_host"].backend.get_pytest_id()  # type: ignore[attr-defined]
    case = item.callspec.id.replace(node, "").strip("-")
    title = (item.function.__doc__ or "").strip().splitlines()[0]
    name = item.function.__name__.removeprefix("test_") + (f"[{case}]" if case else "")
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
    else:
        reason = _reason(report)
    verdict = (
        Verdict.SKIPPED if report.skipped else Verdict.PASSED if report.passed else Verdict.FAILED
    )
    return Check(
        layer=layer_of(item.module.__name__),
        name=name,
        title=title,
        controls=control_ids(item),
        verdict=verdict,
        looked=looked,
        reason=reason,
        duration_s=round(report.duration, 3),
    )


def _reason(report: pytest.TestReport) -> str:
    """Return why a check failed, in a line or few: the assertion, not the traceback.

    Of one that passed, what it measured, where it told (``record_property``).
    """
    if report.passed or report.longrepr is None:
        told = (str(value) for name, value in report.user_properties if name == MEASURED)
        return "\n".join(told)[:LONGEST_REASON]
    crash = getattr(report.longrepr, "reprcrash", None)
    message: str = crash.message if crash is not None else str(report.longrepr)
    message = message.removeprefix("AssertionError: ").strip()
    return message.removesuffix("Use -v to get more diff").strip()[:LONGEST_REASON]
