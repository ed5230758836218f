"""Manage accounts, their keys, and who may become root."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import OperationValueError, QuoteString, operation

from nodeproof.facts.users import Accounts, AccountsData, AuthorizedKeys, SudoRule, SudoRules
from nodeproof.operations import journal
from nodeproof.operations.journal import ACCOUNTS, Change, Item, Kind

HOMES = "/home"
"""Where useradd makes homes (HOME in useradd(8)'s defaults)."""

_KEYS_SCRIPT = (
    "umask 077; cd && mkdir -p .ssh && chmod 700 .ssh && printf '%s\\n' \"$@\" "
    ">.ssh/.authorized_keys.nodeproof && mv -fT .ssh/.authorized_keys.nodeproof "
    ".ssh/authorized_keys"
)


@operation()
def account(
    account: str, shell: str = "/bin/bash", groups: Sequence[str] = ()
) -> Generator[Change]:
    """
    Make an account exist with this shell, in at least these groups.

    + account: its name
    + shell: login shell
    + groups: supplementary groups, created where they are missing

    **Example:**

    .. code:: python

        users.account(name="Make the account of alice", account="alice", groups=["sudo"])
    """

    now: AccountsData = host.get_fact(Accounts)
    for group in sorted(set(groups) - now.groups.keys()):
        yield Change("groupadd", "--", QuoteString(group), touches=[ACCOUNTS])
    user = now.users.get(account)
    if user is None:
        own = ["--gid", QuoteString(account)] if account in {*groups, *now.groups} else []
        yield Change(
            "useradd",
            "--create-home",
            *own,  # useradd refuses to make a group that is there
            "--shell",
            QuoteString(shell),
            *_in_groups(groups),
            "--",
            QuoteString(account),
            touches=[ACCOUNTS, Item(Kind.TREE, f"{HOMES}/{account}")],
        )
        return
    if user.shell != shell:
        yield Change(
            "usermod", "--shell", QuoteString(shell), "--", QuoteString(account), touches=[ACCOUNTS]
        )
    if missing := set(groups) - user.groups - {user.group}:
        yield Change(
            "usermod",
            "--append",
            *_in_groups(sorted(missing)),
            "--",
            QuoteString(account),
            touches=[ACCOUNTS],
        )
    elif user.shell == shell:
        host.noop(f"{account} is as asked")


@operation()
def authorized_keys(account: str, keys: Sequence[str]) -> Generator[Change]:
    """
    Make these keys the only ones that may log in as a user; written as that user, never as root.

    + account: whose
    + keys: lines of OpenSSH public keys

    **Example:**

    .. code:: python

        users.authorized_keys(name="Set alice's keys", account="alice", keys=["ssh-ed25519 ..."])
    """

    if host.get_fact(AuthorizedKeys, account=account) == list(keys):
        host.noop(f"the keys of {account} are as asked")
        return
    known = host.get_fact(Accounts).users.get(account)
    home = known.home if known else f"{HOMES}/{account}"
    yield Change(
        "runuser",
        "-u",
        QuoteString(account),
        "--",
        "sh",
        "-c",
        QuoteString(_KEYS_SCRIPT),
        "sh",
        *(QuoteString(key) for key in keys),
        touches=[journal.file(f"{home}/.ssh"), journal.file(f"{home}/.ssh/authorized_keys")],
    )


@operation()
def absent(account: str) -> Generator[Change]:
    """
    Make an account not exist; its home stays, so that nothing is lost.

    + account: its name

    **Example:**

    .. code:: python

        users.absent(name="Remove mallory", account="mallory")
    """

    if account not in host.get_fact(Accounts).users:
        host.noop(f"{account} does not exist")
        return
    yield Change("userdel", "--", QuoteString(account), touches=[ACCOUNTS])


@operation()
def group(group: str) -> Generator[Change]:
    """
    Make a group exist.

    + group: its name

    **Example:**

    .. code:: python

        users.group(name="Make the group of the scratch directories", group="scratch")
    """

    if group in host.get_fact(Accounts).groups:
        host.noop(f"{group} exists")
        return
    yield Change("groupadd", "--system", "--", QuoteString(group), touches=[ACCOUNTS])


@operation()
def members(group: str, members: Sequence[str]) -> Generator[Change]:
    """
    Make these users the only supplementary members of a group.

    + group: its name
    + members: the users, who must exist

    **Example:**

    .. code:: python

        users.members(name="Let only alice use Docker", group="docker", members=["alice"])
    """

    now = host.get_fact(Accounts).groups.get(group, frozenset())
    if now == set(members):
        host.noop(f"the members of {group} are as asked")
        return
    for member in sorted(now - set(members)):
        yield Change("gpasswd", "-d", QuoteString(member), QuoteString(group), touches=[ACCOUNTS])
    for member in sorted(set(members) - now):
        yield Change("gpasswd", "-a", QuoteString(member), QuoteString(group), touches=[ACCOUNTS])


@operation()
def administrators(admins: Sequence[str], group: str) -> Generator[Change]:
    """
    Make nobody but these users able to become root: not by group, not by a sudoers file.

    Files that belong to a package of the distribution, or name only these users, are left alone.

    + admins: who may
    + group: the distribution's group of administrators

    **Example:**

    .. code:: python

        users.administrators(name="Keep others out of sudo", admins=["ops"], group="sudo")
    """

    allowed = {"root", *admins}
    accounts: AccountsData = host.get_fact(Accounts)
    rules: list[SudoRule] = host.get_fact(SudoRules)
    others = accounts.groups.get(group, frozenset()) - allowed
    if stay := sorted(accounts.members(group) - allowed - others):
        raise OperationValueError(
            f"users.administrators: {group} is the own group of {', '.join(stay)}; "
            "give them another (usermod --gid)"
        )
    files = [rule for rule in rules if not rule.packaged and foreign(rule, allowed, {group})]
    if not others and not files:
        host.noop("nobody else may become root")
    for member in sorted(others):
        yield Change("gpasswd", "-d", QuoteString(member), QuoteString(group), touches=[ACCOUNTS])
    for rule in files:
        path = rule.file
        yield Change("rm", "-f", "--", QuoteString(path), touches=[journal.file(path)])


def foreign(rule: SudoRule, users: set[str], groups: set[str]) -> frozenset[str]:
    """Return whom a sudoers file lets become root besides these users and groups."""
    return (rule.users - users) | frozenset(f"%{group}" for group in rule.groups - groups)


def _in_groups(groups: Sequence[str]) -> list[str | QuoteString]:
    return ["--groups", QuoteString(",".join(groups))] if groups else []
