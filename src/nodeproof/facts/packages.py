"""Packages as they are on a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.catalog.distributions import PackageManager
from nodeproof.repositories.transaction import Transaction, transaction
from nodeproof.scripts import script
from nodeproof.uncounted import Uncounted

_TRANSACTION = script("apt-transaction.sh")
_WITH_DNF, _DNF_TRANSACTION = script("with-dnf.sh"), script("dnf-transaction.py")

FRESH_MINUTES = 360
"""Package lists younger than this are not fetched again."""
_AGE = "they age, and are fetched by timers"
_APT_LISTS = f"""
find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mmin -{FRESH_MINUTES} 2>/dev/null |
    head -n 1 | sed 's/.*/fresh/'
(. /etc/os-release; find /var/lib/apt/lists -maxdepth 1 -name '*Release' -mmin -{FRESH_MINUTES} \\
    -exec grep -lixF "Origin: $ID" {{}} + 2>/dev/null) | head -n 1 | sed 's/.*/own/'
ls /var/lib/dpkg/updates 2>/dev/null | head -n 1 | sed 's/.*/interrupted/'
"""


@dataclass(frozen=True)
class PackagesData:
    """What a package manager knows."""

    installed: dict[str, str] = field(default_factory=dict)
    """Name to version, fully installed ones only."""
    broken: tuple[str, ...] = ()
    """Names that an interrupted run left half installed or unconfigured."""
    held: tuple[str, ...] = ()
    """Names of those that somebody has nailed down."""
    lists_fresh: Annotated[bool, Uncounted(_AGE)] = False
    """Whether any are; where a repository is added, only its own are fetched."""
    own_fresh: Annotated[bool, Uncounted(_AGE)] = False
    """Of apt: whether the distribution's own are, by the Origin that they are signed with."""


class _Packages(FactBase[PackagesData]):
    """What a package manager has installed."""

    called = "packages"

    @staticmethod
    @override
    def default() -> PackagesData:
        """Return that nothing is known to be installed."""
        return PackagesData()

    @staticmethod
    def things(value: PackagesData) -> dict[str, str]:
        """Return each package's version, by what people call it."""
        whole = {f"package {name}": version for name, version in value.installed.items()}
        nailed = {f"hold on package {name}": "" for name in value.held}
        return whole | nailed | {f"half installed package {name}": "" for name in value.broken}


class _Transaction(FactBase[Transaction]):
    """What a package manager would do; `words` are ``NAME=VERSION`` or ``NAME-``, with commas."""

    called = "what an installation of packages at exact versions would do"
    uncounted = "it moves with package lists; what a plan makes of it is counted"

    @staticmethod
    @override
    def default() -> Transaction:
        """Return that nothing would be done."""
        return Transaction()

    @override
    def process(self, output: list[str]) -> Transaction:
        """Parse what the script printed."""
        return transaction(output)


class AptPackages(_Packages):
    """
    Packages of a distribution that uses dpkg and apt.

    .. code:: python

        PackagesData(installed={"sudo": "1.9.16p2-3"}, broken=(), own_fresh=True)
    """

    @override
    def command(self) -> str:
        """Return a script that prints one line a package."""
        return (
            "dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\\n' || exit; "
            f"{_APT_LISTS}"
        )

    @override
    def process(self, output: list[str]) -> PackagesData:
        """Parse dpkg's states: ``ii`` and ``hi`` are whole, ``rc`` and ``un`` absent."""
        installed: dict[str, str] = {}
        broken: list[str] = []
        held: list[str] = []
        for line in output:
            state, _, rest = line.partition("|")
            name, _, version = rest.partition("|")
            if not rest:
                if line == "interrupted":
                    broken.append("dpkg's journal")
            elif state in ("ii ", "hi "):
                installed[name] = version
                if state[0] == "h":
                    held.append(name)
            elif state[1] not in "cn":
                broken.append(name)
        fresh, own = (word in output[-3:] for word in ("fresh", "own"))
        return PackagesData(installed, tuple(broken), tuple(held), fresh, own)


_SIMULATE = r"""
set -f
names=$1; shift
for name in $names; do set -- "$@" "?exact-name($name)"; done
apt-get -s -q --no-install-recommends install -- "$@" 2>/dev/null |
    sed -n 's/^\(Inst\|Remv\) \([^ ]*\) \[\([^]]*\)\].*/\2 \3/p' |
    while read -r name version; do
        apt-cache madison -- "$name" 2>/dev/null | tr -d ' ' |
            awk -F '|' -v v="$version" '$2 == v { found = 1 } END { exit !found }' ||
            printf '%s|%s\n' "$name" "$version"
    done
"""


class AptLastWords(FactBase[dict[str, str]]):
    """
    What an installation of packages would replace or remove, and no repository offers any more.

    .. code:: python

        {"libc6": "2.36-9"}
    """

    called = "what an installation of packages would replace"
    uncounted = "it is read only while package lists are fresh, and moves with them"

    @override
    def requires_command(self, names: str) -> str:
        """Return the program without which nothing is known."""
        return "apt-get"

    @override
    def command(self, names: str) -> StringCommand:
        """Return a script that simulates the installation of these names, separated by blanks."""
        return StringCommand("sh", "-c", QuoteString(_SIMULATE), "sh", QuoteString(names))

    @staticmethod
    @override
    def default() -> dict[str, str]:
        """Return that nothing would be lost."""
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        """Parse ``name|version``."""
        rows = (line.partition("|") for line in output)
        return {name: version for name, _, version in rows if version}


class AptTransaction(_Transaction):
    """
    What apt would do to have packages at exact versions; nothing is done.

    .. code:: python

        Transaction(wants={"nvidia-open": "580.178.04-1"}, acts=(Act("nvidia-open", "", "580...")))
    """

    @override
    def requires_command(self, words: str) -> str:
        """Return the program without which nothing is known."""
        return "apt-get"

    @override
    def command(self, words: str) -> StringCommand:
        """Return a script that simulates it."""
        return StringCommand(
            "sh",
            "-c",
            _TRANSACTION,
            "sh",
            "look",
            "yes",
            "no",
            "0",
            *(QuoteString(word) for word in words.split(",")),
        )


class DnfPackages(_Packages):
    """
    Packages of a distribution that uses rpm and dnf; versions are ``[EPOCH:]VERSION-RELEASE``.

    .. code:: python

        PackagesData(installed={"nvidia-open": "3:580.178.04-1.el9"}, lists_fresh=True)
    """

    @override
    def command(self) -> str:
        """Return a script that prints one line a package."""
        return (
            "rpm -qa --qf '%{name}|%|epoch?{%{epoch}:}|%{version}-%{release}\\n' || exit; "
            "sed -n 's/^\\([^!#].*\\)-[^-]*-[^-]*$/held|\\1|/p' "
            "/etc/dnf/plugins/versionlock.list 2>/dev/null; "
            "sed 's/\\.[^.]* .*//; s/.*/broken|&||/' "
            "/var/lib/nodeproof/dnf-unfinished 2>/dev/null; "
            f"find /var/cache/dnf -maxdepth 1 -name '*.solv' -mmin -{FRESH_MINUTES} "
            "2>/dev/null | head -n 1 | sed 's/.*/fresh/'"
        )

    @override
    def process(self, output: list[str]) -> PackagesData:
        """Parse it; keys that rpm trusts are no packages, and of kernels the last one counts.

        Of what dnf was cut off from, nodeproof's own note tells (scripts/dnf-transaction.py).
        """
        rows = [line.split("|") for line in output if "|" in line]
        return PackagesData(
            installed={
                name: version for name, version, *end in rows if not end and name != "gpg-pubkey"
            },
            broken=tuple(row[1] for row in rows if len(row) == 4),
            held=tuple(row[1] for row in rows if len(row) == 3),
            lists_fresh="fresh" in output[-1:],
        )


class RpmMissing(FactBase[tuple[str, ...]]):
    """
    Which of some packages are not installed; a name may be of one build.

    .. code:: python

        ("kernel-devel-5.14.0-687.51.1.el9_8.x86_64",)
    """

    called = "whether packages are installed"

    @override
    def requires_command(self, names: str) -> str:
        """Return the program without which nothing is known."""
        return "rpm"

    @override
    def command(self, names: str) -> StringCommand:
        """Return a script that asks of each; `names` are package names, with commas."""
        script = 'for name; do rpm -q -- "$name" >/dev/null || echo "$name"; done'
        each = (QuoteString(name) for name in names.split(","))
        return StringCommand("sh", "-c", QuoteString(script), "sh", *each)

    @staticmethod
    @override
    def default() -> tuple[str, ...]:
        """Return that all are there."""
        return ()

    @override
    def process(self, output: list[str]) -> tuple[str, ...]:
        """Parse a name a line."""
        return tuple(output)


class DnfTransaction(_Transaction):
    """
    What dnf would do to have packages at exact versions; nothing is done.

    .. code:: python

        Transaction(wants={"nvidia-open": "3:580.178.04-1.el9"}, acts=(Act(...),))
    """

    @override
    def requires_command(self, words: str) -> str:
        """Return the program without which nothing is known."""
        return "dnf"

    @override
    def command(self, words: str) -> StringCommand:
        """Return a program that simulates it."""
        return StringCommand(
            "sh",
            "-c",
            _WITH_DNF,
            "sh",
            _DNF_TRANSACTION,
            "look",
            "yes",
            "no",
            *(QuoteString(word) for word in words.split(",")),
        )


PACKAGES: Mapping[PackageManager, type[_Packages]] = {
    PackageManager.APT: AptPackages,
    PackageManager.DNF: DnfPackages,
}
"""What a package manager knows, by which it is."""
