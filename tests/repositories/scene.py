"""A vendor's repository beside a container node, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nodeproof.operations import packages, repositories
from nodeproof.repositories.spec import AptRepository, SigningKey
from tests.repositories import vendor
from tests.repositories.apt import AptFolder
from tests.repositories.deb import Package
from tests.repositories.server import Server
from tests.repositories.signing import Key

PATH = "debian/x86_64"
EVERYTHING: list[Package] = [
    *vendor.driver(vendor.OLD),
    *vendor.driver(vendor.NEWER),
    *vendor.driver(vendor.NEXT),
    *vendor.others(),
]


class Vendor:
    """Serves a repository; `good` signs it unless it is told to be broken."""

    def __init__(self, server: Server, good: Key, other: Key, old: Key) -> None:
        self.server = server
        self.good, self.other, self.old = good, other, old
        self.folder = AptFolder(server.folder / PATH, good)

    @property
    def url(self) -> str:
        """Where the repository is."""
        return f"{self.server.url}/{PATH}/"

    @property
    def key_file(self) -> Path:
        """What is served as its key."""
        return self.folder.path / self.folder.key_file

    def mend(self) -> None:
        """Serve all that belongs to it, as it should be."""
        for package in self.folder.path.glob("*.deb"):
            package.unlink()
        self.folder.publish(EVERYTHING)
        self.server.start()

    def repository(self, **other: Any) -> AptRepository:
        """Return it as it is asked for."""
        asked: dict[str, Any] = {
            "name": "cuda",
            "uris": (self.url,),
            "suites": ("/",),
            "supplies": vendor.SUPPLIES,
            "key": self.key(),
        }
        return AptRepository(**{**asked, **other})

    def key(self, *pinned: Key) -> SigningKey:
        """Return what is pinned: the good key, unless others are named."""
        prints = tuple(one.fingerprint for one in pinned or (self.good,))
        return SigningKey(prints, url=f"{self.url}{self.folder.key_file}")

    def added(self, **other: Any) -> Callable[[], object]:
        """Return operations that add it."""
        return lambda: _add(self.repository(**other))

    def driver(
        self, version: str, names: Sequence[str] = vendor.DRIVER, **other: Any
    ) -> Callable[[], object]:
        """Return operations that add it and install a driver."""
        return self.exactly(dict.fromkeys(names, version) | _pinning(version), **other)

    def exactly(self, versions: dict[str, str], **other: Any) -> Callable[[], object]:
        """Return operations that add it and install packages at these versions."""

        def operations() -> None:
            added = _add(self.repository())
            packages.versions(
                name="Install the driver",
                manager="apt",
                versions=versions,
                after=[added],
                **other,
            )

        return operations


def _add(repository: AptRepository, adopt: bool = False) -> Any:
    return repositories.apt(name="Add the repository", repository=repository, adopt=adopt)


def _pinning(version: str) -> dict[str, str]:
    branch = version.partition(".")[0]
    return {f"nvidia-driver-pinning-{branch}": f"{branch}-1"}
