"""The only place that touches pyinfra's internals: State, gevent, connectors, the CLI's loader.

pyinfra 4 replaces gevent and paramiko by asyncio and asyncssh; then this folder changes and
nothing else does. Everything outside uses pyinfra's public names (``host``, ``api``,
``operations``, ``facts``) only; a test asserts it.
"""
