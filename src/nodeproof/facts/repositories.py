"""Package repositories as they are on a node, and as they answer it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.repositories.spec import AptRepository, DnfRepository
from nodeproof.scripts import script

FETCH_S = 30
"""Seconds that a node waits for an address that does not answer."""


@dataclass(frozen=True)
class RepositoryData:
    """What a node has of a repository."""

    files: dict[str, str] = field(default_factory=dict)
    """Path to content, of its own three files as far as they are there."""
    readable: bool = True
    """Whether these belong to root and can be read by all, as apt needs it."""
    fetched: bool = False
    """Whether its lists of packages are there."""
    others: tuple[str, ...] = ()
    """Other files that name an address of it."""
    keys: tuple[str, ...] = ()
    """What rpm calls the keys that it trusts: the ends of fingerprints, in lower case."""


_DNF_STATE = script("dnf-repository.sh")
_DNF_TRIAL = script("dnf-trial.sh")
_STATE = script("apt-repository.sh")


class AptRepositoryState(FactBase[RepositoryData]):
    """
    The files of a repository, whether its lists are there, and who else names it.

    .. code:: python

        RepositoryData(files={"/etc/apt/keyrings/nodeproof-cuda.asc": "..."}, fetched=True)
    """

    called = "the repository {repository}"

    @override
    def requires_command(self, repository: AptRepository) -> str:
        """Return the program without which nothing is known."""
        return "apt-get"

    @override
    def command(self, repository: AptRepository) -> StringCommand:
        """Return a script that prints a line for each thing."""
        own = (repository.keyring, repository.sources, repository.preferences)
        addresses = [uri.rstrip("/") for uri in repository.uris]
        return StringCommand(
            "sh",
            "-c",
            _STATE,
            "sh",
            *(QuoteString(path) for path in own),
            *(QuoteString(address) for address in addresses),
        )

    @staticmethod
    @override
    def default() -> RepositoryData:
        """Return that nothing is there."""
        return RepositoryData()

    @override
    def process(self, output: list[str]) -> RepositoryData:
        """Parse what the script printed."""
        return _repository(output)


class DnfRepositoryState(FactBase[RepositoryData]):
    """
    The same of a repository for dnf, and which keys rpm trusts.

    .. code:: python

        RepositoryData(files={"/etc/yum.repos.d/nodeproof-cuda.repo": "..."}, keys=("d42d0685",))
    """

    called = "the repository {repository}"

    @override
    def requires_command(self, repository: DnfRepository) -> str:
        """Return the program without which nothing is known."""
        return "dnf"

    @override
    def command(self, repository: DnfRepository) -> StringCommand:
        """Return a script that prints a line for each thing."""
        addresses = [uri.rstrip("/") for uri in repository.uris]
        words = (repository.keyring, repository.file, repository.id, *addresses)
        return StringCommand("sh", "-c", _DNF_STATE, "sh", *(QuoteString(word) for word in words))

    @staticmethod
    @override
    def default() -> RepositoryData:
        """Return that nothing is there."""
        return RepositoryData()

    @override
    def process(self, output: list[str]) -> RepositoryData:
        """Parse what the script printed."""
        return _repository(output)


def _repository(output: list[str]) -> RepositoryData:
    rows = [line.split("|") for line in output]
    files = [row for row in rows if row[0] == "file"]
    return RepositoryData(
        files={path: base64.b64decode(text).decode(errors="replace") for _, path, _, text in files},
        readable=all(owned == "644:0:0" for _, _, owned, _ in files),
        fetched=["fetched"] in rows,
        others=tuple(row[1] for row in rows if row[0] == "other"),
        keys=tuple(row[1] for row in rows if row[0] == "key"),
    )


_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class FetchedData:
    """What came of asking an address, or a repository."""

    content: bytes = b""
    said: tuple[str, ...] = ()
    """Why it did not work, a line each; nothing where it did."""
    clock: datetime = _NEVER
    """What time the node believes it is."""


_FETCH = script("fetch-key.sh")


class KeyFile(FactBase[FetchedData]):
    """
    The key file at an address, fetched by the node; nothing of it stays there.

    .. code:: python

        FetchedData(content=b"-----BEGIN PGP PUBLIC KEY BLOCK-----...", said=())
    """

    called = "the key file {url}"
    uncounted = "it is somebody else's; what a plan makes of it is counted"

    @override
    def command(self, url: str, largest: int) -> StringCommand:
        """Return a script that fetches it; `largest` is in octets."""
        return StringCommand(
            "sh",
            "-c",
            _FETCH,
            "sh",
            QuoteString(url),
            QuoteString(str(FETCH_S)),
            QuoteString(str(largest)),
        )

    @override
    def process(self, output: list[str]) -> FetchedData:
        """Parse what the script printed."""
        return _fetched(output)


_TRIAL = script("apt-trial.sh")


class AptTrial(FactBase[FetchedData]):
    """
    Whether a repository answers, and is signed by the keys of a keyring; nothing of it stays.

    .. code:: python

        FetchedData(said=())
    """

    called = "the answer of the repository {repository}"
    uncounted = "it is somebody else's, and only says whether a change may be made"

    @override
    def requires_command(self, repository: AptRepository, keyring: Keyring) -> str:
        """Return the program that asks."""
        return "apt-get"

    @override
    def command(self, repository: AptRepository, keyring: Keyring) -> StringCommand:
        """Return a script that fetches its lists once."""
        return StringCommand(
            "sh",
            "-c",
            _TRIAL,
            "sh",
            QuoteString(keyring.text),
            QuoteString(repository.sources_text()),
            QuoteString(str(FETCH_S)),
        )

    @override
    def process(self, output: list[str]) -> FetchedData:
        """Parse what the script printed."""
        return _fetched(output)


class DnfTrial(FactBase[FetchedData]):
    """
    The same of a repository for dnf.

    .. code:: python

        FetchedData(said=())
    """

    called = "the answer of the repository {repository}"
    uncounted = "it is somebody else's, and only says whether a change may be made"

    @override
    def requires_command(self, repository: DnfRepository, keyring: Keyring) -> str:
        """Return the program that asks."""
        return "dnf"

    @override
    def command(self, repository: DnfRepository, keyring: Keyring) -> StringCommand:
        """Return a script that fetches its lists once."""
        words = (keyring.text, repository.text(), repository.id, str(FETCH_S))
        return StringCommand("sh", "-c", _DNF_TRIAL, "sh", *(QuoteString(word) for word in words))

    @override
    def process(self, output: list[str]) -> FetchedData:
        """Parse what the script printed."""
        return _fetched(output)


@dataclass(frozen=True)
class Keyring:
    """A keyring, armored; `name` stands for it where it would be too long."""

    name: str
    text: str

    def __str__(self) -> str:
        return self.name


def _fetched(output: list[str]) -> FetchedData:
    rows = [line.partition("|") for line in output]
    clock = next(int(value) for kind, _, value in rows if kind == "clock")
    content = next((value for kind, _, value in rows if kind == "content"), "")
    return FetchedData(
        content=base64.b64decode(content),
        said=tuple(value for kind, _, value in rows if kind == "said"),
        clock=datetime.fromtimestamp(clock, UTC),
    )
