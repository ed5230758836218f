"""pyinfra's connectors with a root shell below them: quick, and without passwords in arguments.

pyinfra's own sudo support passes the password in the environment of a command line, where every
user of the node can read it; here it goes through the standard input of sudo, once.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable
from io import StringIO
from typing import IO, Any, cast

import gevent
from paramiko import Channel, SSHException, Transport
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient import client
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command

from nodeproof.engine.adapter.hostkeys import read
from nodeproof.engine.adapter.shell import ConnectionLostError, Shell, Streams

HEARTBEAT_S = 10
LOST_AFTER_S = 60
"""How long a node may leave a sign of life unanswered before the connection counts as lost."""

# What the root shell does not do; such calls take pyinfra's own way.
_NOT_OURS = ("_sudo_user", "_su_user", "_doas", "_doas_user", "_get_pty", "_stdin")
_MEANINGLESS = ("_sudo", "_use_sudo_login", "_sudo_password", "_preserve_sudo_env")
TURNED_AWAY = "Error reading SSH protocol banner"
PAUSES_S = (1, 2, 4, 8, 16)

UPLOAD_LIMIT = 4 * 1024 * 1024


_Connector: Any = object  # mixed into connectors, which have all of BaseConnector


class _ChannelStreams:
    """An ssh channel as three streams."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def write(self, data: bytes) -> None:
        self._channel.sendall(data)

    def read_out(self) -> bytes:
        return self._channel.recv(65536)

    def read_err(self) -> bytes:
        return self._channel.recv_stderr(65536)

    def close(self) -> None:
        self._channel.close()


class _ProcessStreams:
    """A local process as three streams."""

    def __init__(self, command: str) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            ["sh", "-c", command],  # noqa: S607 - a POSIX shell is what a node has
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
        )

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[cast(IO[bytes], self._process.stdin).write(view) :]

    def read_out(self) -> bytes:
        return cast(IO[bytes], self._process.stdout).read(65536)

    def read_err(self) -> bytes:
        return cast(IO[bytes], self._process.stderr).read(65536)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                cast(IO[bytes], stream).close()


class RootShellMixin(_Connector):
    """Run commands and uploads through the root shell; `ask_password` is set before connecting."""

    ask_password: Callable[[str], str]
    shell: Shell | None = None
    round_trips = 0
    last_failure = ""

    def _start(self, command: str) -> Streams:
        raise NotImplementedError  # pragma: no cover - both subclasses have it

    def open_shell(self) -> None:
        """Open the root shell; raises UnreachableError when root is not to be had."""
        self.shell = Shell(self.host.name, self._start, self.ask_password)

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        """Run a command as root and return whether it succeeded, and its output."""
        if self.shell is None or any(arguments.get(key) for key in _NOT_OURS):
            done: tuple[bool, CommandOutput] = super().run_shell_command(
                command, print_output, print_input, **arguments
            )
            return done
        timeout = arguments.pop("_timeout", None)
        good = arguments.pop("_success_exit_codes", None) or (0,)
        for key in (*_NOT_OURS, *_MEANINGLESS):
            arguments.pop(key, None)
        raw = make_unix_command(command, **{**arguments, "_shell_executable": None}).get_raw_value()
        self.round_trips += 1
        try:
            code, out, err = self.shell.run(raw, timeout=timeout)
        except OSError as error:
            self.last_failure = str(error)
            raise
        if code not in good:
            self.last_failure = _last_words(err) or _last_words(out) or f"exit code {code}"
        return code in good, CommandOutput([*_lines("stdout", out), *_lines("stderr", err)])

    def put_file(
        self,
        filename_or_io: Any,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Upload a file; small ones in one step through the shell, large ones pyinfra's way."""
        with get_file_io(filename_or_io) as stream:
            content = stream.read()
        if isinstance(content, str):
            content = content.encode()
        if self.shell is None or len(content) > UPLOAD_LIMIT:
            done: bool = super().put_file(
                filename_or_io,
                remote_filename,
                remote_temp_filename,
                print_output,
                print_input,
                **arguments,
            )
            return done
        self.round_trips += 1
        code, _, err = self.shell.upload(content, remote_filename)
        if code:
            self.last_failure = _last_words(err)
        return code == 0

    def disconnect(self) -> None:
        """Close the shell and the connection below it."""
        if self.shell is not None:
            self.shell.close()
            self.shell = None
        super().disconnect()


class NodeSSHConnector(RootShellMixin, SSHConnector):
    """pyinfra's ssh connector: strict host keys, no Nagle delay, dead peers noticed."""

    _heart: gevent.Greenlet | None = None

    def connect(self) -> None:
        """Connect and open the root shell."""
        client.get_host_keys = read  # pyinfra's gives a file up at a line that it cannot read
        self._connect_patiently()
        assert self.client is not None  # noqa: S101 - connect() raises otherwise
        transport = self.client.get_transport()
        if transport is None:
            raise ConnectionLostError("connection lost: closed while connecting")
        if isinstance(transport.sock, socket.socket):  # else a proxy command or a jump host
            # paramiko leaves Nagle's algorithm on, which costs 40 ms a command.
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heart = gevent.spawn(_beat, transport)
        self.open_shell()

    def _connect_patiently(self) -> None:
        """Connect; wait while sshd turns us away before saying a word.

        That is how OpenSSH since 9.8 answers a source after failed logins (PerSourcePenalties in
        sshd_config(5)), and any sshd beyond MaxStartups; both pass by themselves.
        """
        for pause in PAUSES_S:
            try:
                super().connect()
                return
            except ConnectError as error:
                if TURNED_AWAY not in str(error):
                    raise
                time.sleep(pause)
        super().connect()

    def _start(self, command: str) -> Streams:
        assert self.client is not None  # noqa: S101 - connect() came first
        transport = self.client.get_transport()
        if transport is None:
            raise ConnectionLostError("connection lost: closed while connecting")
        try:
            channel = transport.open_session(timeout=30)
            channel.exec_command(command)
        except (SSHException, EOFError) as error:
            raise ConnectionLostError(f"connection lost: {error}") from error
        return _ChannelStreams(channel)

    def disconnect(self) -> None:
        """Close the connection, which pyinfra leaves open."""
        super().disconnect()
        if self._heart is not None:
            self._heart.kill()
        if self.client is not None:
            self.client.close()


class NodeLocalConnector(RootShellMixin, LocalConnector):
    """pyinfra's local connector, as root through the same shell."""

    def connect(self) -> None:
        """Open the root shell on this machine."""
        super().connect()
        self.open_shell()

    def _start(self, command: str) -> Streams:
        return _ProcessStreams(command)


OURS: dict[type[BaseConnector], type[BaseConnector]] = {
    SSHConnector: NodeSSHConnector,
    LocalConnector: NodeLocalConnector,
}


def _beat(transport: Transport) -> None:
    """Ask the node's sshd for a sign of life again and again; close when it stays silent.

    TCP cannot tell: between us and the node there may be a jump host or a NAT that acknowledges
    what never arrives. paramiko's own keepalive does not wait for the answer.
    """
    while transport.is_active():
        gevent.sleep(HEARTBEAT_S)
        answered = False
        with gevent.Timeout(LOST_AFTER_S, False):
            transport.global_request("keepalive@openssh.com", wait=True)
            answered = True
        if not answered:
            transport.close()


def _lines(name: str, data: bytes) -> list[OutputLine]:
    text = data.decode(errors="replace")
    return [OutputLine(name, line.rstrip("\n")) for line in StringIO(text)]


def _last_words(data: bytes) -> str:
    lines = data.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
