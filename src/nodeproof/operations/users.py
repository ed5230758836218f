"""Manage accounts, their keys, and who may become root."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import OperationValueError, QuoteString, StringCommand, operation

from nodeproof.facts.users import Accounts, AccountsData, AuthorizedKeys, SudoRule, SudoRules

_KEYS_SCRIPT = (
    "umask 077; cd && mkdir -p .ssh && chmod 700 .ssh && printf '%s\\n' \"$@\" "
    ">.ssh/.authorized_keys.nodeproof && mv -fT .ssh/.authorized_keys.nodeproof "
    ".ssh/authorized_keys"
)


@operation()
def account(
    account: str, shell: str = "/bin/bash", groups: Sequence[str] = ()
) -> Generator[StringCommand]:
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
        yield StringCommand("groupadd", "--", QuoteString(group))
    user = now.users.get(account)
    if user is None:
        own = ["--gid", QuoteString(account)] if account in {*groups, *now.groups} else []
        yield StringCommand(
            "useradd",
            "--create-home",
            *own,  # useradd refuses to make a group that is there
            "--shell",
            QuoteString(shell),
            *_in_groups(groups),
            "--",
            QuoteString(account),
        )
        return
    if user.shell != shell:
        yield StringCommand("usermod", "--shell", QuoteString(shell), "--", QuoteString(account))
    if missing := set(groups) - user.groups - {user.group}:
        yield StringCommand(
            "usermod", "--append", *_in_groups(sorted(missing)), "--", QuoteString(account)
        )
    elif user.shell == shell:
        host.noop(f"{account} is as asked")


@operation()
def authorized_keys(account: str, keys: Sequence[str]) -> Generator[StringCommand]:
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
    yield StringCommand(
        "runuser",
        "-u",
        QuoteString(account),
        "--",
        "sh",
        "-c",
        QuoteString(_KEYS_SCRIPT),
        "sh",
        *(QuoteString(key) for key in keys),
    )


@operation()
def absent(account: str) -> Generator[StringCommand]:
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
    yield StringCommand("userdel", "--", QuoteString(account))


@operation()
def group(group: str) -> Generator[StringCommand]:
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
    yield StringCommand("groupadd", "--system", "--", QuoteString(group))


@operation()
def members(group: str, members: Sequence[str]) -> Generator[StringCommand]:
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
        yield StringCommand("gpasswd", "-d", QuoteString(member), QuoteString(group))
    for member in sorted(set(members) - now):
        yield StringCommand("gpasswd", "-a", QuoteString(member), QuoteString(group))


@operation()
def administrators(admins: Sequence[str], group: str) -> Generator[StringCommand]:
    """
    Make nobody but these users able to become root: not by group, not by a sudoers file.

    Files that belong to a package of the distribution, or name only these users, are left alone.
    A foreign file is kept beside the record of runs, readable by root only.

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
        yield StringCommand("gpasswd", "-d", QuoteString(member), QuoteString(group))
    for rule in files:
        kept = f"/var/lib/nodeproof/removed{rule.file}"
        yield StringCommand(
            "install",
            "-D",
            "-m",
            "600",
            "--",
            QuoteString(rule.file),
            QuoteString(kept),
            "&&",
            "chmod",
            "700",
            "/var/lib/nodeproof",
            "&&",
            "rm",
            "-f",
            "--",
            QuoteString(rule.file),
        )


def foreign(rule: SudoRule, users: set[str], groups: set[str]) -> frozenset[str]:
    """Return whom a sudoers file lets become root besides these users and groups."""
    return (rule.users - users) | frozenset(f"%{group}" for group in rule.groups - groups)


def _in_groups(groups: Sequence[str]) -> list[str | QuoteString]:
    return ["--groups", QuoteString(",".join(groups))] if groups else []
