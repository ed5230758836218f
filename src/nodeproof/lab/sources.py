"""Debian's apt sources, as the building machine has them, turned to another release.

Nothing here names a mirror: addresses come from the building machine's own sources, or from
``NODEPROOF_DEBIAN_MIRROR``. Entries of other vendors are left out, and options such as
``Trusted`` are not carried over: what is returned is always checked against Debian's keyring.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nodeproof.errors import UsageError

CODENAMES = {"debian-12": "bookworm", "debian-13": "trixie"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "NODEPROOF_DEBIAN_MIRROR"
COMPONENTS = {"main", "contrib", "non-free", "non-free-firmware"}
_SUITE = re.compile(
    r"(?:buster|bullseye|bookworm|trixie|forky|duke|sid"
    r"|(?:old){0,2}stable|testing|unstable)(?P<pocket>-updates|-security|/updates)?"
)
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<rest>\S.*)")
# What an image needs to reach the same archive; never hooks, never what switches signatures off.
_SETTING = re.compile(
    r"Acquire::(?:https?::(?!CaInfo|Ssl|Verify-|.*Proxy-Auto-Detect)\S+|Retries|ForceIPv[46]"
    r"|Check-Valid-Until|Check-Date|Max-ValidTime|Languages|GzipIndexes)(?:::)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Source:
    """One entry of apt's sources: where, which suites, which parts, and whose key signs it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    def deb822(self, keyring: Path = KEYRING) -> str:
        """Return the entry in apt's stanza format, always signed by ``keyring``."""
        return (
            f"Types: deb\nURIs: {' '.join(self.uris)}\nSuites: {' '.join(self.suites)}\n"
            f"Components: {' '.join(self.components)}\nSigned-By: {keyring}\n"
        )


def parse_deb822(text: str) -> Iterator[Source]:
    """Yield the enabled binary sources of a ``.sources`` file."""
    for stanza in re.split(r"\n\s*\n", _without_comments(text)):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        yield Source(
            tuple(fields.get("uris", "").split()),
            tuple(fields.get("suites", "").split()),
            tuple(fields.get("components", "").split()),
            fields.get("signed-by", ""),
        )


def parse_one_line(text: str) -> Iterator[Source]:
    """Yield the binary sources of a ``.list`` file."""
    for line in _without_comments(text).splitlines():
        found = _ONE_LINE.fullmatch(line.split(" #")[0].strip())
        words = found["rest"].split() if found else []
        if found is None or len(words) < 2:
            continue
        options = dict(
            option.split("=", 1) for option in (found["options"] or "").split() if "=" in option
        )
        yield Source((words[0],), (words[1],), tuple(words[2:]), options.get("signed-by", ""))


def read(etc_apt: Path = Path("/etc/apt")) -> list[Source]:
    """Return every enabled binary source configured under ``etc_apt``."""
    lists = [etc_apt / "sources.list", *sorted(etc_apt.glob("sources.list.d/*.list"))]
    found: list[Source] = []
    for path in (path for path in lists if path.is_file()):
        found += parse_one_line(path.read_text())
    for path in sorted(etc_apt.glob("sources.list.d/*.sources")):
        found += parse_deb822(path.read_text())
    return found


def is_debian(source: Source) -> bool:
    """Say whether the entry is the Debian archive: its suites, its parts and its key."""
    return (
        bool(source.suites)
        and all(_SUITE.fullmatch(suite) or suite.endswith("-backports") for suite in source.suites)
        and bool(source.components)
        and set(source.components) <= COMPONENTS
        and (not source.signed_by or "debian-archive" in source.signed_by)
        and not any(uri.startswith("cdrom:") for uri in source.uris)
    )


def retarget(sources: Iterable[Source], codename: str) -> list[Source]:
    """Return the Debian entries with their suites turned to ``codename``, ``main`` only.

    The release itself, its updates and its security updates are kept; backports are not.
    """
    wanted: dict[tuple[tuple[str, ...], str], Source] = {}
    for source in filter(is_debian, sources):
        for suite in source.suites:
            if found := _SUITE.fullmatch(suite):
                pocket = (found["pocket"] or "").replace("/updates", "-security")
                key = (source.uris, pocket)
                wanted[key] = Source(source.uris, (codename + pocket,), ("main",))
    return [wanted[key] for key in sorted(wanted)]


def debian_sources(distribution: str, etc_apt: Path = Path("/etc/apt")) -> list[Source]:
    """Return where ``distribution`` ("debian-12", "debian-13") is fetched from.

    Raises UsageError where the building machine has no Debian source or no Debian keyring.
    """
    codename = _codename(distribution)
    mirror = os.environ.get(MIRROR_VARIABLE, "").split()
    configured = _from_mirror(mirror) if mirror else read(etc_apt)
    sources = retarget(configured, codename)
    if not any(source.suites == (codename,) for source in sources):
        raise UsageError(
            f"apt sources: no Debian archive is configured under {etc_apt}",
            hint=f"Add a Debian source, or set {MIRROR_VARIABLE} to a mirror's address (and, after "
            "a space, the security archive's); signatures are checked with Debian's keyring.",
        )
    return sources


def apt_settings() -> list[str]:
    """Return the building machine's apt settings that reaching its archive may depend on.

    Each is a line for ``apt.conf``; an empty list where the machine has no apt.
    """
    try:
        dump = subprocess.run(
            ["apt-config", "dump"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except FileNotFoundError:
        return []
    return select_settings(dump)


def select_settings(dump: str) -> list[str]:
    """Return the lines of ``apt-config dump`` that an image needs."""
    kept = []
    for line in dump.splitlines():
        key, _, value = line.partition(" ")
        if _SETTING.fullmatch(key) and shlex.split(value.rstrip(";")) not in ([], [""]):
            kept.append(line)
    return kept


def _codename(distribution: str) -> str:
    try:
        return CODENAMES[distribution]
    except KeyError:
        raise UsageError(
            f"lab: {distribution} is not a distribution it can build",
            hint=f"Choose one of: {', '.join(CODENAMES)}.",
        ) from None


def _from_mirror(addresses: list[str]) -> list[Source]:
    archive, *security = addresses
    sources = [Source((archive,), ("stable", "stable-updates"), ("main",))]
    return sources + [Source((uri,), ("stable-security",), ("main",)) for uri in security]


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line[:1].isspace() and key:
            fields[key] += " " + line.strip()
        elif ":" in line:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.strip()
    return fields
