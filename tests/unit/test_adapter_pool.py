"""Many hosts at once: results in order, Ctrl-C at any time, nobody's mistake kept quiet."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import gevent
import pytest

from nodeproof.engine.adapter import pool
from nodeproof.engine.adapter.pool import each


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    with gevent.Timeout(30, AssertionError("no end after 30 s")):
        yield


def test_results_are_in_the_order_of_the_hosts() -> None:
    def slow_first(number: int) -> int:
        gevent.sleep(0.05 - number * 0.01)
        return number * 10

    assert each(range(5), slow_first) == ([0, 10, 20, 30, 40], False)


def test_hosts_run_at_once_but_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "AT_ONCE", 7)
    now, most = 0, 0

    def busy(number: int) -> int:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        gevent.sleep(0.005)
        now -= 1
        return number

    assert each(range(30), busy) == ([*range(30)], False)
    assert most == 7


def test_no_hosts() -> None:
    assert each([], str) == ([], False)


@pytest.mark.parametrize("many", [3, 30])
def test_ctrl_c_keeps_what_is_done(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when there are more hosts than run at once, and some have not even begun."""
    monkeypatch.setattr(pool, "AT_ONCE", 4)
    ended: list[int] = []

    def work(number: int) -> int:
        try:
            if number == 1:
                gevent.spawn_later(0.05, os.kill, os.getpid(), signal.SIGINT)
            gevent.sleep(0 if number == 0 else 20)
        finally:
            ended.append(number)
        return number

    assert each(range(many), work) == ([0], True)
    gevent.sleep(0.05)
    assert 1 in ended, "its connection was not closed"


def test_ctrl_c_at_a_question_of_one_host(capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> int:
        if number == 1:
            gevent.sleep(0.02)
            raise KeyboardInterrupt
        gevent.sleep(0 if number == 0 else 20)
        return number

    assert each(range(3), work) == ([0], True)
    assert "Traceback" not in capfd.readouterr().err


def test_a_mistake_is_not_kept_quiet() -> None:
    def work(number: int) -> int:
        return 1 // number

    with pytest.raises(ZeroDivisionError):
        each([1, 0], work)
