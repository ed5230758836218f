"""The only place that touches pyinfra's internals: State, gevent, connectors, the CLI's loader.

pyinfra 4 replaces gevent and paramiko by asyncio and asyncssh; then this folder changes and
nothing else does. Everything outside uses pyinfra's public names (``host``, ``api``,
``operations``, ``facts``) only; a test asserts it.
"""

from __future__ import annotations

import logging


def prepare_process() -> None:
    """Make this process one that runs pyinfra for us: cooperative, and silent.

    pyinfra runs hosts in greenlets, so whatever blocks is patched before it is used. A plain
    pyinfra run never calls this; it patches itself and speaks for itself.
    """
    from gevent import monkey

    if not monkey.is_module_patched("socket"):
        monkey.patch_all()
    for speaker in ("pyinfra", "paramiko"):
        logging.getLogger(speaker).setLevel(logging.CRITICAL)
