"""What is asked of a repository; every value keeps to a grammar, because it lands in files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from nodeproof.errors import UsageError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}(?:[0-9A-F]{24})?")
_URI = re.compile(r"(?:https?|file)://?[A-Za-z0-9._~:/$()\[\]%@+,=-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~/_:-]*|/")
_PACKAGE = re.compile(r"[A-Za-z0-9*][A-Za-z0-9*?+._:~-]*")
_PIN = re.compile(r"(?:release|origin) [A-Za-z0-9 .,=\"*/:+_-]+")
MANAGED = "# Managed by nodeproof (repositories). Local changes are overwritten.\n"


def _match(where: str, pattern: re.Pattern[str], *values: str) -> None:
    for value in values:
        if not pattern.fullmatch(value):
            raise UsageError(f"{where}: {value!r} is not allowed there")


@dataclass(frozen=True)
class SigningKey:
    """Whose signatures count: fingerprints of primary keys, and where the keys are to be had.

    Where nobody names a fingerprint, the digest of the key file takes its place.
    """

    fingerprints: tuple[str, ...] = ()
    """Upper-case hexadecimal digits without blanks, in full. One of them is enough."""
    url: str = ""
    """Where the vendor has it; the node fetches it from there."""
    content: str = ""
    """The key itself, armored, where it is shipped."""
    sha256: str = ""
    """Of an armored key file; it counts where no fingerprint is pinned."""
    sha256_without: str = ""
    """A pattern for the beginning of lines that are left out before the digest is made."""

    def __post_init__(self) -> None:
        _match("fingerprint", _FINGERPRINT, *self.fingerprints)
        _match("digest of a key file", _SHA256, *filter(None, [self.sha256]))
        if not (self.fingerprints or self.sha256):
            raise UsageError("signing key: no fingerprint is pinned")
        if bool(self.url) == bool(self.content):
            raise UsageError("signing key: needs either an address or the key itself")
        _match("signing key", _URI, *filter(None, [self.url]))

    @property
    def pinned(self) -> str:
        """The fingerprints as they are written into a keyring, to be known again."""
        return f"nodeproof pinned {' '.join(sorted(self.fingerprints))}"

    @property
    def name(self) -> str:
        """What stands for it where all of it would be too long."""
        return (self.fingerprints or (self.sha256,))[0][-16:]

    def proven(self, content: bytes) -> bytes:
        """Return a key file without what its digest leaves out: nobody vouches for that."""
        if self.fingerprints or not self.sha256_without:
            return content
        left_out = re.compile(self.sha256_without.encode())
        lines = content.splitlines(keepends=True)
        return b"".join(line for line in lines if not left_out.match(line))


@dataclass(frozen=True)
class AptRepository:
    """A repository of Debian packages."""

    name: str
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    """Suites; a path that ends with ``/`` where the repository is flat."""
    key: SigningKey
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    supplies: tuple[str, ...] = ()
    """Names, or patterns with ``*``, of the packages that may come from there; no others do.

    A lone ``*`` is for a repository that a distribution is made of: all of it, at its priority.
    apt tells repositories of one host apart by their Release files only: set `pin` where there
    are two.
    """
    priority: int = 600
    """Of these packages; above 500 a vendor's version wins over the distribution's."""
    pin: str = ""
    """Which packages these are, as in apt_preferences(5); by default those of the hosts."""

    frozen: bool = False
    """Whether it is a mirror that is kept as it was once, so that it may be out of date."""

    def __post_init__(self) -> None:
        where = f"repository {self.name}"
        _match("repository", _NAME, self.name)
        _match(where, _URI, *self.uris)
        _match(where, _WORD, *self.suites, *self.components, *self.architectures)
        _match(where, _PACKAGE, *self.supplies)
        _match(where, _PIN, *filter(None, [self.pin]))
        if not (self.uris and self.suites):
            raise UsageError(f"{where}: needs an address and a suite")
        if not 0 < self.priority < 1000:
            raise UsageError(f"{where}: priority {self.priority} is not between 1 and 999")
        if any(suite.endswith("/") for suite in self.suites) == bool(self.components):
            raise UsageError(f"{where}: has components, or a suite that ends with /: one of them")

    def __str__(self) -> str:
        return self.name

    @property
    def keyring(self) -> str:
        """Where its key is."""
        return f"/etc/apt/keyrings/nodeproof-{self.name}.asc"

    @property
    def sources(self) -> str:
        """Where it is named."""
        return f"/etc/apt/sources.list.d/nodeproof-{self.name}.sources"

    @property
    def preferences(self) -> str:
        """Where it is said what it may supply.

        Of several files that name a package, apt heeds the first: a vendor's package that pins a
        branch, and an administrator's own word, come before ours.
        """
        return f"/etc/apt/preferences.d/zz-nodeproof-{self.name}.pref"

    def sources_text(self) -> str:
        """Return its stanza; see sources.list(5)."""
        fields = {
            "Types": "deb",
            "URIs": " ".join(self.uris),
            "Suites": " ".join(self.suites),
            "Components": " ".join(self.components),
            "Architectures": " ".join(self.architectures),
            "Signed-By": self.keyring,
            # Whatever apt.conf says: an old list hides security updates.
            "Check-Valid-Until": "no" if self.frozen else "yes",
            "Check-Date": "yes",
        }
        return MANAGED + "".join(f"{key}: {value}\n" for key, value in fields.items() if value)

    def preferences_text(self) -> str:
        """Return what it may supply; see apt_preferences(5)."""
        pins = [self.pin] if self.pin else [f'origin "{host}"' for host in _hosts(self.uris)]
        others = [] if self.supplies == ("*",) else pins
        stanzas = [f"Package: *\nPin: {pin}\nPin-Priority: -1\n" for pin in others]
        if self.supplies:
            packages = " ".join(self.supplies)
            stanzas += [
                f"Package: {packages}\nPin: {pin}\nPin-Priority: {self.priority}\n" for pin in pins
            ]
        return MANAGED + "\n" + "\n".join(stanzas)


@dataclass(frozen=True)
class DnfRepository:
    """A repository of RPM packages."""

    name: str
    uris: tuple[str, ...]
    key: SigningKey
    supplies: tuple[str, ...] = ()
    """Names, or patterns with ``*``, of the packages that may come from there; no others do."""
    excludes: tuple[str, ...] = ()
    """Of these, what must not."""
    lists_signed: bool = True
    """Whether its lists are signed, too, and not the packages only."""

    def __post_init__(self) -> None:
        where = f"repository {self.name}"
        _match("repository", _NAME, self.name)
        _match(where, _URI, *self.uris)
        _match(where, _PACKAGE, *self.supplies, *self.excludes)
        if not self.uris or not self.supplies:
            raise UsageError(f"{where}: needs an address, and packages that it supplies")

    def __str__(self) -> str:
        return self.name

    @property
    def id(self) -> str:
        """What dnf calls it."""
        return f"nodeproof-{self.name}"

    @property
    def keyring(self) -> str:
        """Where its key is."""
        return f"/etc/pki/rpm-gpg/nodeproof-{self.name}.asc"

    @property
    def file(self) -> str:
        """Where it is named."""
        return f"/etc/yum.repos.d/nodeproof-{self.name}.repo"

    def text(self) -> str:
        """Return its section; see dnf.conf(5)."""
        options = {
            "name": self.name,
            "baseurl": " ".join(self.uris),
            "enabled": "1",
            "gpgcheck": "1",
            "repo_gpgcheck": "1" if self.lists_signed else "0",
            "gpgkey": f"file://{self.keyring}",
            "includepkgs": " ".join(self.supplies),
            "excludepkgs": " ".join(self.excludes),
        }
        lines = [f"{key}={value}\n" for key, value in options.items() if value]
        return f"{MANAGED}[{self.id}]\n{''.join(lines)}"


def _hosts(uris: tuple[str, ...]) -> list[str]:
    """Return the hosts as apt knows them; a directory of this machine is the empty one."""
    return sorted({urlsplit(uri).hostname or "" for uri in uris})
