"""Manage files: rendered, validated by their daemon, replaced in one step."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from io import BytesIO
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra import host
from pyinfra.api import (
    FileUploadCommand,
    OperationValueError,
    QuoteString,
    operation,
)

from nodeproof.facts.files import FileState, FileStateData, SecretFileState
from nodeproof.facts.systemd import PENDING
from nodeproof.operations import journal
from nodeproof.operations.journal import Change, Item
from nodeproof.resources import shipped
from nodeproof.secrets import SecretContent

HEADER = "Managed by nodeproof ({layer}). Local changes are overwritten."


class Upload(FileUploadCommand):
    """New content on its way to `final`; it waits in memory until a change puts it in place."""

    def __init__(self, content: bytes, final: str, *, secret: bool = False) -> None:
        super().__init__((SecretContent if secret else BytesIO)(content), journal.staged(final))
        self.final = final


def render(template: str, **values: Any) -> str:
    """Render ``templates/<template>``; a value that is missing is an error, not an empty text."""
    environment = Environment(
        loader=FileSystemLoader(shipped("templates")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML; values match strict grammars
    )
    header = HEADER.format(layer=template.split("/", 1)[0])
    return environment.get_template(template).render(header=header, **values)


@operation()
def content(
    path: str,
    text: str,
    mode: str = "644",
    user: str = "root",
    group: str = "root",
    validate: Sequence[str] = (),
    notify: str | None = None,
    secret: bool = False,
) -> Generator[FileUploadCommand | Change]:
    """
    Make a file have this content, owner and mode; replace it in one step after validation.

    + path: where
    + text: the whole content
    + mode: octal
    + user: owner
    + group: group
    + validate: command that accepts the new file, with ``%s`` for its path
    + notify: unit that must be told; remembered on the node until it was (see systemd.told)
    + secret: never show the content

    **Example:**

    .. code:: python

        files.content(name="Write the sudo rule", path="/etc/sudoers.d/ops", text="...",
                      mode="440", validate=["visudo", "-cf", "%s"])
    """

    if not path.startswith("/"):
        raise OperationValueError(f"files.content: {path} is not an absolute path")
    wanted = text.encode()
    fact = SecretFileState if secret else FileState
    now: FileStateData | None = host.get_fact(fact, path=path)
    _no_directory("files.content", path, now)
    if now is None or now.kind != "file" or now.content != wanted:
        yield Upload(wanted, path, secret=secret)
        yield installed(path, mode, user, group, validate, notify)
        return
    if (now.mode, now.user, now.group) != (mode, user, group):
        yield _owned(path, mode, user, group)
        return
    host.noop(f"{path} is as asked")


@operation()
def template(
    path: str, source: str, values: dict[str, Any], **options: Any
) -> Generator[FileUploadCommand | Change]:
    """
    Make a file what a template says; see `content` for the other arguments.

    + path: where
    + source: template below ``templates/``
    + values: what the template may use

    **Example:**

    .. code:: python

        files.template(name="Write the sshd drop-in", path="/etc/ssh/sshd_config.d/10.conf",
                       source="ssh/sshd.conf.j2", values={"settings": settings})
    """

    yield from content._inner(path=path, text=render(source, **values), **options)


@operation()
def directory(
    path: str, mode: str = "755", user: str = "root", group: str = "root", keep: bool = False
) -> Generator[Change]:
    """
    Make a directory exist with this owner and mode.

    + path: where
    + mode: octal
    + user: owner
    + group: group
    + keep: leave owner and mode of a directory that exists as they are

    **Example:**

    .. code:: python

        files.directory(name="Make the CDI directory", path="/etc/cdi")
    """

    now: FileStateData | None = host.get_fact(FileState, path=path)
    if now is not None and now.kind != "directory":
        raise OperationValueError(f"files.directory: {path} exists and is a {now.kind}")
    if now is not None and (keep or (now.mode, now.user, now.group) == (mode, user, group)):
        host.noop(f"{path} is as asked")
        return
    yield Change(
        "install",
        "-d",
        "-m",
        QuoteString(mode),
        "-o",
        QuoteString(user),
        "-g",
        QuoteString(group),
        "--",
        QuoteString(path),
        touches=[journal.file(path)],
    )


@operation()
def permissions(path: str, mode: str, user: str = "root", group: str = "root") -> Generator[Change]:
    """
    Make what is at a path, e.g. a socket, have this owner and mode; nothing is made.

    + path: where
    + mode: octal
    + user: owner
    + group: group

    **Example:**

    .. code:: python

        files.permissions(name="Close the socket", path="/run/docker.sock", mode="660")
    """

    now: FileStateData | None = host.get_fact(FileState, path=path)
    if now is None or (now.mode, now.user, now.group) == (mode, user, group):
        host.noop(f"{path} is as asked" if now else f"{path} does not exist")
        return
    yield _owned(path, mode, user, group)


@operation()
def absent(path: str, notify: str | None = None) -> Generator[Change]:
    """
    Make a file or link not exist; a directory is refused.

    + path: where
    + notify: unit that must be told

    **Example:**

    .. code:: python

        files.absent(name="Remove the forced complain mode", path="/etc/apparmor.d/disable/x")
    """

    now: FileStateData | None = host.get_fact(FileState, path=path)
    _no_directory("files.absent", path, now)
    if now is None:
        host.noop(f"{path} does not exist")
        return
    touches = [journal.file(path)]
    yield Change(*_noted(notify), "rm", "-f", "--", QuoteString(path), touches=touches)


def _no_directory(operation: str, path: str, now: FileStateData | None) -> None:
    if now is not None and now.kind == "directory":
        raise OperationValueError(f"{operation}: {path} exists and is a directory")


def _owned(path: str, mode: str, user: str, group: str) -> Change:
    return Change(*_owning(path, mode, user, group), touches=[journal.file(path)])


def _owning(path: str, mode: str, user: str, group: str) -> list[Any]:
    name = QuoteString(path)
    owner = QuoteString(f"{user}:{group}")
    return ["chown", "-h", owner, "--", name, "&&", "chmod", QuoteString(mode), "--", name]


def _noted(notify: str | None) -> list[Any]:
    if notify is None:
        return []
    mark = QuoteString(f"{PENDING}/{notify}")
    return ["install", "-D", "-m", "600", "/dev/null", mark, "&&"]


def installed(
    path: str,
    mode: str,
    user: str,
    group: str,
    validate: Sequence[str],
    notify: str | None,
) -> Change:
    """Return the change that puts what was uploaded for `path` there, after validation."""
    return Change(
        *_installing(path, mode, user, group, validate, notify), touches=[journal.file(path)]
    )


def read_by_systemd(path: str, reread: Item) -> Change:
    """Return the change that puts a file of systemd's there and has systemd read it.

    `reread` is what has systemd read it again when it is taken back: after the file.
    """
    return Change(
        *_installing(path, "644", "root", "root", (), None),
        "&& systemctl daemon-reload",
        touches=[reread, journal.file(path)],
    )


def _installing(
    path: str, mode: str, user: str, group: str, validate: Sequence[str], notify: str | None
) -> list[Any]:
    new = _beside(path)
    staged = QuoteString(journal.staged(path))
    beside = QuoteString(new)
    final = QuoteString(path)
    check: list[Any] = []
    if validate:
        words = [QuoteString(new if word == "%s" else word) for word in validate]
        check = [*words, ">&2", "&&"]
    return [
        *("{", "cp", "--", staged, beside, "&&", *_owning(new, mode, user, group), "&&"),
        *(*check, "sync", "--", beside, "&&", *_noted(notify)),
        *("mv", "-fT", "--", beside, final, "&&", "rm", "-f", "--", staged, ";", "}"),
        *("||", "{", "rm", "-f", "--", beside, staged, ";", "exit", "1;", "}"),
    ]


def _beside(path: str) -> str:
    """Return the name beside `path` under which new content is validated; no daemon reads it."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.nodeproof"
