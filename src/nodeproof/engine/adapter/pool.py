"""Many hosts at once, in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import gevent
from gevent.pool import Pool
from pyinfra.api.host import Host

T = TypeVar("T")
AT_ONCE = 200


def pause(seconds: float) -> None:
    """Wait while other hosts go on."""
    gevent.sleep(seconds)


def each(hosts: Sequence[Host], function: Callable[[Host], T]) -> tuple[list[T], bool]:
    """Call `function` for every host in parallel; return the results and whether Ctrl-C came.

    After Ctrl-C the results are those that were there already.
    """
    pool, results = Pool(AT_ONCE), dict[int, T]()
    jobs: list[gevent.Greenlet] = []
    waiting = gevent.getcurrent()

    def one(position: int, host: Host) -> None:
        try:
            results[position] = function(host)
        except KeyboardInterrupt as ctrl_c:  # typed at a question that this host asked
            gevent.kill(waiting, ctrl_c)

    try:
        for position, host in enumerate(hosts):
            jobs.append(pool.spawn(one, position, host))
        gevent.joinall(jobs)
        interrupted = False
    except KeyboardInterrupt:
        gevent.killall(jobs, block=False)
        interrupted = True
    for job in jobs if not interrupted else ():
        job.get()  # a mistake of ours is not kept quiet
    return [results[position] for position in sorted(results)], interrupted
