"""What the hardening layer alone needs to know of a node."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.facts.systemd import Unit, UnitData

LOOSE_HOMES = r"""
awk -F : '$3 >= 1000 && $3 < 60000 && $7 !~ /\/(nologin|false)$/ { print $1 ":" $6 }' /etc/passwd |
while IFS=: read -r user home; do
    { [ -d "$home" ] && [ ! -L "$home" ]; } || continue
    case $(stat -f -c %T -- "$home") in
        nfs* | lustre | gpfs | ceph | fuse* | autofs | smb* | cifs | beegfs) continue ;;
    esac
    [ "$(stat -c %U -- "$home")" = "$user" ] || continue
    find "$home" -maxdepth 0 -perm /027 -printf "$user\t%p\n"
    runuser -u "$user" -- find "$home" -maxdepth 1 -name '.?*' -type f -user "$user" -perm /022 \
        ! -name '*[[:cntrl:]]*' -printf "$user\t%p\n"
done
"""
"""Of local accounts, on local file systems; as the user, whose names in there are."""


@dataclass(frozen=True)
class Loose:
    """A home or a dot file with more rights than it should have."""

    user: str
    path: str


class LooseHomes(FactBase[list[Loose]]):
    """
    Homes that others may enter or write to, and dot files that others may write to.

    .. code:: python

        [Loose(user="alice", path="/home/alice")]
    """

    default = list
    called = "who may enter homes"

    @override
    def command(self) -> str:
        """Return a script that prints a user and a path a line."""
        return LOOSE_HOMES

    @override
    def process(self, output: list[str]) -> list[Loose]:
        """Parse the lines."""
        return [Loose(*line.split("\t", 1)) for line in output]


class AideDatabase(FactBase[str]):
    """
    Whether AIDE has something to compare with: missing, building or built.

    .. code:: python

        "built"
    """

    default = str
    called = "AIDE's database"
    uncounted = "it is built in the background"

    @override
    def command(self, unit: str) -> StringCommand:
        """Return a command that prints a word."""
        script = (
            "if [ -e /var/lib/aide/aide.db ]; then echo built; "
            'else case $(systemctl show -p ActiveState --value -- "$1") in '
            "activating | active) echo building ;; *) echo missing ;; esac; fi"
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(unit))

    @override
    def process(self, output: list[str]) -> str:
        """Take the word."""
        return output[0]


class Units(FactBase[dict[str, UnitData]]):
    """
    Several units at once, by the names that were asked for.

    .. code:: python

        {"cups.service": UnitData(known=True, active=True, state="enabled")}
    """

    default = dict
    called = "units that a server does without"

    @override
    def command(self, units: str) -> StringCommand:
        """Return a command that prints each name, then the unit's properties."""
        script = (
            'for u in $(echo "$1" | tr , " "); do echo "$u"; '
            'systemctl show -p LoadState,ActiveState,UnitFileState -- "$u" || exit 1; done'
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(units))

    @override
    def process(self, output: list[str]) -> dict[str, UnitData]:
        """Give each unit the lines after its name."""
        lines: dict[str, list[str]] = {}
        name = ""
        for line in output:
            if "=" in line:
                lines[name].append(line)
            else:
                name = line
                lines[name] = []
        return {name: Unit().process(said) for name, said in lines.items()}

    @staticmethod
    def things(value: dict[str, UnitData]) -> dict[str, UnitData]:
        """Return each unit, by its name."""
        return {f"unit {name}": unit for name, unit in value.items()}
