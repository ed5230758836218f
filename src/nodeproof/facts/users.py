"""Accounts, their groups and who may become root, as they are on a node."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.uncounted import Selective

DYNAMIC_IDS = range(61184, 65520)
"""What systemd gives to accounts that exist while a unit runs; source: systemd's UIDS-GIDS."""


@dataclass(frozen=True)
class AccountData:
    """One line of passwd, with the supplementary groups."""

    name: str
    uid: int
    group: str
    home: str
    shell: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AccountsData(Selective):
    """All accounts and groups."""

    users: dict[str, AccountData] = field(default_factory=dict)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    """Group to its supplementary members."""

    def members(self, group: str) -> frozenset[str]:
        """Return everybody in a group, also those whose own group it is."""
        own = frozenset(user.name for user in self.users.values() if user.group == group)
        return self.groups.get(group, frozenset()) | own

    def why_not_only(self, group: str, members: Iterable[str]) -> str:
        """Return what is wrong where others than these are in a group, or there is none."""
        if group not in self.groups:
            return f"there is no group {group}"
        found = self.members(group)
        return "" if found == {*members} else f"in {group} are {', '.join(sorted(found)) or 'none'}"

    @override
    def counted(self) -> Self:
        """Leave out accounts and groups that come and go with a unit that runs."""
        passing = {name for name, user in self.users.items() if user.uid in DYNAMIC_IDS}
        users = {name: user for name, user in self.users.items() if name not in passing}
        groups = {
            name: members for name, members in self.groups.items() if members or name not in passing
        }
        return replace(self, users=users, groups=groups)


class Accounts(FactBase[AccountsData]):
    """
    Local and directory accounts, as getent lists them.

    .. code:: python

        AccountsData(users={"ops": AccountData(name="ops", uid=1000, ...)}, groups={...})
    """

    called = "accounts"

    @override
    def command(self) -> str:
        """Return a command that prints passwd, a line of dashes, group."""
        return "getent passwd && echo --- && getent group"

    @staticmethod
    @override
    def default() -> AccountsData:
        """Return no accounts."""
        return AccountsData()

    @override
    def process(self, output: list[str]) -> AccountsData:
        """Parse both tables."""
        cut = output.index("---")
        group_rows = [line.split(":") for line in output[cut + 1 :] if line.count(":") == 3]
        names = {row[2]: row[0] for row in group_rows}
        groups = {row[0]: frozenset(filter(None, row[3].split(","))) for row in group_rows}
        users = {}
        for line in output[:cut]:
            name, _, uid, gid, _, home, shell = line.split(":")
            member = frozenset(group for group, members in groups.items() if name in members)
            users[name] = AccountData(name, int(uid), names.get(gid, gid), home, shell, member)
        return AccountsData(users, groups)

    @staticmethod
    def things(value: AccountsData) -> dict[str, Any]:
        """Return each account, and each group that is not just an account's own."""
        users = {f"account {name}": user for name, user in value.users.items()}
        named = {
            name for name, members in value.groups.items() if members or name not in value.users
        }
        return users | {f"group {name}": value.groups[name] for name in sorted(named)}


class AuthorizedKeys(FactBase[list[str] | None]):
    """
    The lines of a user's authorized_keys, or None where the user or the file is missing.

    .. code:: python

        ["ssh-ed25519 AAAA... ops@example"]
    """

    called = "the authorized_keys of {account}"

    @override
    def command(self, account: str) -> StringCommand:
        """Return a command that reads the file as its owner, never through root."""
        script = (
            'id -u -- "$1" >/dev/null 2>&1 || exit 0; '
            'runuser -u "$1" -- sh -c \'cd && [ -f .ssh/authorized_keys ] && '
            '[ "$(stat -c %a .ssh/authorized_keys)" = 600 ] && echo found && '
            "cat .ssh/authorized_keys; true'"
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(account))

    @override
    def process(self, output: list[str]) -> list[str] | None:
        """Parse the lines after the marker."""
        return [line for line in output[1:] if line] if output[:1] == ["found"] else None


@dataclass(frozen=True)
class SudoRule:
    """Who may become root by one file."""

    file: str
    users: frozenset[str]
    groups: frozenset[str]
    packaged: bool = False
    """Whether the file belongs to a package of the distribution."""


_USERS = {"username": "", "userid": "#", "netgroup": "+"}
_GROUPS = {"usergroup": "", "usergid": "#", "nonunixgroup": ":", "nonunixgid": ":#"}
"""How cvtsudoers says whom a rule is for, to the sign that sudoers has for it."""


def _named(lists: list[dict[str, Any]], signs: dict[str, str]) -> frozenset[str]:
    """Return whom the entries name; those that a rule leaves out are not among them."""
    names = (
        f"{sign}{entry[kind]}"
        for entry in lists
        for kind, sign in signs.items()
        if kind in entry and not entry.get("negated")
    )
    return frozenset("root" if name == "#0" and signs is _USERS else name for name in names)


class SudoRules(FactBase[list[SudoRule]]):
    """
    Every user and group that sudoers lets run something, by file, with aliases expanded.

    .. code:: python

        [SudoRule(file="/etc/sudoers", users={"root"}, groups={"sudo"}, packaged=True)]
    """

    default = list
    called = "sudoers"

    @override
    def requires_command(self) -> str:
        """Return the tool that reads sudoers as sudo does."""
        return "cvtsudoers"

    @override
    def command(self) -> str:
        """Return a script that prints each file's name and its rules as JSON."""
        return (
            "for f in /etc/sudoers /etc/sudoers.d/*; do "
            'case ${f##*/} in *.*|*~) continue;; esac; [ -f "$f" ] || continue; '
            'o=$(cvtsudoers -e -f json -s defaults "$f" 2>/dev/null | tr -d "\\n"); '
            'dpkg-query -S -- "$f" >/dev/null 2>&1 && p=1 || p=0; '
            'printf "%s\\t%s\\t%s\\n" "$p" "$f" "$o"; done'
        )

    @override
    def process(self, output: list[str]) -> list[SudoRule]:
        """Parse one line a file; a file that cvtsudoers cannot read is a rule for nobody known."""
        rules = []
        for line in output:
            packaged, file, text = line.split("\t", 2)
            specs: list[dict[str, Any]] = json.loads(text).get("User_Specs", []) if text else []
            lists = [entry for spec in specs for entry in spec.get("User_List", [])]
            users, groups = _named(lists, _USERS), _named(lists, _GROUPS)
            rules.append(SudoRule(file, users, groups, packaged == "1"))
        return rules

    @staticmethod
    def things(value: list[SudoRule]) -> dict[str, SudoRule]:
        """Return each file's rules, by its path."""
        return {rule.file: rule for rule in value}
