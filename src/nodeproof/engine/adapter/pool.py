"""Many hosts at once, in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import gevent
from gevent.pool import Pool
from pyinfra.api.host import Host

T = TypeVar("T")
AT_ONCE = 200


def each(hosts: Sequence[Host], function: Callable[[Host], T]) -> tuple[list[T], bool]:
    """Call `function` for every host in parallel; return the results and whether Ctrl-C came.

    After Ctrl-C the results are those that were there already.
    """
    pool = Pool(AT_ONCE)
    jobs = [pool.spawn(function, host) for host in hosts]
    try:
        gevent.joinall(jobs)
    except KeyboardInterrupt:
        done = [job.value for job in jobs if job.ready() and job.successful()]
        gevent.killall(jobs, block=False)
        return done, True
    return [job.get() for job in jobs], False
