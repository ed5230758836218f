"""Manage package repositories: pinned keys, what they may supply, proven before they are used."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from functools import partial

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationValueError, QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.errors import UsageError
from nodeproof.facts.files import FileState
from nodeproof.facts.repositories import (
    FETCH_S,
    AptRepositoryState,
    AptTrial,
    DnfRepositoryState,
    DnfTrial,
    FetchedData,
    KeyFile,
    Keyring,
    RepositoryData,
)
from nodeproof.operations import journal
from nodeproof.operations.files import Upload
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.repositories import keys
from nodeproof.repositories.openpgp import Certificate
from nodeproof.repositories.spec import AptRepository, DnfRepository, SigningKey
from nodeproof.repositories.trouble import clock_is_wrong, meaning
from nodeproof.scripts import script

LOCK_WAIT_S = 300
"""How long to wait for another package manager."""

MODULES = "/etc/dnf/modules.d"
"""Where dnf keeps which streams are enabled."""

_APT_ADD, _DNF_ADD = script("apt-add.sh"), script("dnf-add.sh")
_MODULE = re.compile(r"[a-z0-9][A-Za-z0-9._-]*")


@operation()
def apt(repository: AptRepository, adopt: bool = False) -> Generator[FileUploadCommand | Change]:
    """
    Make apt use a repository: with the pinned key only, and for what it may supply only.

    Its key, signature, dates and lists are proven before anything is changed.

    + repository: what is asked of it
    + adopt: remove other files that name the same repository; otherwise these are refused

    **Example:**

    .. code:: python

        repositories.apt(name="Add NVIDIA's repository", repository=AptRepository(
            name="cuda", uris=("https://...",), suites=("/",), supplies=("nvidia-*",),
            key=SigningKey(("EB693B3035CD5710E231E123A4B469963BF863CC",), url="https://..."),
        ))
    """

    now: RepositoryData = host.get_fact(AptRepositoryState, repository=repository)
    today = datetime.now(UTC)
    others = _others(repository.name, now, adopt)
    keyring = now.files.get(repository.keyring, "")
    if not keys.up_to_date(keyring, repository.key, today):
        content, found = _keys(repository.name, repository.key, today)
        keyring = keys.keyring(content, found, repository.key)
    wanted = {
        repository.keyring: keyring,
        repository.sources: repository.sources_text(),
        repository.preferences: repository.preferences_text(),
    }
    if now.files == wanted and now.readable and now.fetched and not others:
        host.noop(f"apt uses {repository.name} as asked")
        return
    tried = host.get_fact(AptTrial, repository=repository, keyring=_named(repository.key, keyring))
    _heed(repository.name, repository.uris, tried, today)
    for path in (*wanted, *others):
        host.get_fact(FileState, path=path)  # a plan shows what is different in them
    for path, text in wanted.items():
        yield Upload(text.encode(), path)
    yield _apt_added(repository, others)


@operation()
def dnf(repository: DnfRepository, adopt: bool = False) -> Generator[FileUploadCommand | Change]:
    """
    Make dnf use a repository: with the pinned key only, and for what it may supply only.

    Its key, signature and lists are proven before anything is changed.

    + repository: what is asked of it
    + adopt: remove other files that name the same repository; otherwise these are refused

    **Example:**

    .. code:: python

        repositories.dnf(name="Add NVIDIA's repository", repository=DnfRepository(
            name="cuda", uris=("https://...",), supplies=("nvidia-*",),
            key=SigningKey(("610C7B14E068A878070DA4E99CD0A493D42D0685",), url="https://..."),
        ))
    """

    now: RepositoryData = host.get_fact(DnfRepositoryState, repository=repository)
    today = datetime.now(UTC)
    others = _others(repository.name, now, adopt)
    keyring = now.files.get(repository.keyring, "")
    if keys.up_to_date(keyring, repository.key, today):
        found = keys.trusted(keyring.encode(), repository.key, today, "on the node")
    else:
        content, found = _keys(repository.name, repository.key, today)
        keyring = keys.key_blocks(content, found, repository.key)
    wanted = {repository.keyring: keyring, repository.file: repository.text()}
    strange = [one for one in found if not one.fingerprint.lower().endswith(now.keys or ("-",))]
    if now.files == wanted and now.readable and now.fetched and not (others or strange):
        host.noop(f"dnf uses {repository.name} as asked")
        return
    tried = host.get_fact(DnfTrial, repository=repository, keyring=_named(repository.key, keyring))
    _heed(repository.name, repository.uris, tried, today)
    for path in (*wanted, *others):
        host.get_fact(FileState, path=path)  # a plan shows what is different in them
    for path, text in wanted.items():
        yield Upload(text.encode(), path)
    yield _dnf_added(repository, others, found)


def added(repository: AptRepository | DnfRepository, name: str) -> OperationMeta:
    """Call the operation that a repository is for."""
    if isinstance(repository, DnfRepository):
        by_dnf: OperationMeta = dnf(name=name, repository=repository)
        return by_dnf
    by_apt: OperationMeta = apt(name=name, repository=repository)
    return by_apt


@operation()
def module(module: str, stream: str) -> Generator[Change]:
    """
    Make dnf take a module's packages from this stream: EL 8 and 9; there are none since EL 10.

    + module: its name
    + stream: the stream

    **Example:**

    .. code:: python

        repositories.module(name="Choose the branch", module="nvidia-driver", stream="580-open")
    """

    if not (_MODULE.fullmatch(module) and _MODULE.fullmatch(stream)):
        raise OperationValueError(f"repositories.module: {module}:{stream} names no stream")
    path = f"{MODULES}/{module}.module"
    now = host.get_fact(FileState, path=path)
    said = set(now.text.splitlines()) if now else set()
    if {f"stream={stream}", "state=enabled"} <= said:
        host.noop(f"dnf takes {module} from {stream}")
        return
    yield Change(
        "dnf -q -y module reset",
        QuoteString(module),
        ">&2 && dnf -q -y module enable",
        QuoteString(f"{module}:{stream}"),
        ">&2",
        touches=[journal.file(path)],
    )


def _others(name: str, now: RepositoryData, adopt: bool) -> list[str]:
    """Return files of others that must go, because a repository has one key and one rule."""
    if now.others and not adopt:
        raise OperationValueError(
            f"repositories: {name}: {' and '.join(now.others)} on the node name the same "
            "repository; remove them, or adopt the repository"
        )
    return list(now.others)


def _keys(name: str, key: SigningKey, today: datetime) -> tuple[bytes, list[Certificate]]:
    """Return the key file and its keys; raises OperationValueError for what is not pinned."""
    where, content = "that is shipped", key.content.encode()
    if key.url:
        where = f"at {key.url}"
        fetched: FetchedData = host.get_fact(KeyFile, url=key.url, largest=keys.LARGEST)
        if fetched.said:
            raise _trouble(name, f"the key {where}", fetched, today)
        content = fetched.content
    try:
        return content, keys.trusted(content, key, today, where)
    except UsageError as error:
        raise OperationValueError(f"repositories: {name}: {error.message}") from error


def _named(key: SigningKey, keyring: str) -> Keyring:
    return Keyring(key.name, keyring)


def _heed(name: str, uris: Sequence[str], tried: FetchedData, today: datetime) -> None:
    if tried.said:
        raise _trouble(name, f"the repository {uris[0]}", tried, today)


def _trouble(name: str, what: str, fetched: FetchedData, today: datetime) -> OperationValueError:
    said = meaning(what, fetched.said) + clock_is_wrong(fetched.clock, today)
    return OperationValueError(f"repositories: {name}: {said}")


def _apt_added(repository: AptRepository, others: list[str]) -> Change:
    paths = (repository.keyring, repository.sources, repository.preferences)
    staged = [QuoteString(word) for path in paths for word in (journal.staged(path), path)]
    folder, _, _ = repository.keyring.rpartition("/")
    return Change(
        "sh",
        "-c",
        _APT_ADD,
        "sh",
        *staged,
        QuoteString(str(LOCK_WAIT_S)),
        QuoteString(str(FETCH_S)),
        *(QuoteString(path) for path in others),
        explain=partial(meaning, f"the repository {repository.uris[0]}"),
        touches=[journal.file(folder), *map(journal.file, (*paths, *others))],
    )


def _dnf_added(
    repository: DnfRepository, others: list[str], found: Sequence[Certificate]
) -> Change:
    paths = (repository.keyring, repository.file)
    staged = [QuoteString(word) for path in paths for word in (journal.staged(path), path)]
    return Change(
        "sh",
        "-c",
        _DNF_ADD,
        "sh",
        *staged,
        QuoteString(repository.id),
        QuoteString(str(FETCH_S)),
        *(QuoteString(path) for path in others),
        explain=partial(meaning, f"the repository {repository.uris[0]}"),
        touches=[*map(journal.file, (*paths, *others)), *map(_imported, found)],
    )


def _imported(certificate: Certificate) -> Item:
    """Return the item of a key that rpm trusts: its name there is the end of its fingerprint."""
    key = f"gpg-pubkey-{certificate.fingerprint[-8:].lower()}"
    probe = f"rpm -q {key} >/dev/null && echo imported"
    label = f"signing key {certificate.fingerprint}"
    return Item(Kind.CUSTOM, f"{label}\t{probe}\trpm -e --allmatches {key}")
