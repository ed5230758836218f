"""Manage what the hardening layer alone changes: ages of passwords, system accounts, homes, su."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationValueError, QuoteString, operation

from nodeproof.facts.files import FileState, FileStateData
from nodeproof.facts.shadow import PasswordData, Shadow
from nodeproof.facts.systemd import UnitData
from nodeproof.facts.users import AccountData, Accounts, AccountsData
from nodeproof.layers.hardening.facts import AideDatabase, Loose, LooseHomes, Units
from nodeproof.operations import files, journal, systemd
from nodeproof.operations.journal import ACCOUNTS, Change

NOLOGIN = "/usr/sbin/nologin"
HARMLESS = (NOLOGIN, "/bin/false", "/usr/bin/false", "/bin/sync", "/sbin/shutdown", "/sbin/halt")
SU = "/etc/pam.d/su"
_WHEEL = re.compile(r"\s*-?auth\s+\S+\s+(\S*/)?pam_wheel\.so\b")
_OURS = re.compile(r"auth\s+required\s+pam_wheel\.so use_uid group=\S+")


@operation()
def ageing(days: tuple[int, int, int], inactive: int, never: Sequence[str]) -> Generator[Change]:
    """
    Make the passwords of accounts grow old; accounts without one are left alone.

    + days: before a password may be changed again, until it must be, and of warning before that
    + inactive: days after which an account whose password expired is closed
    + never: accounts that are left alone, too

    **Example:**

    .. code:: python

        ageing(name="Let passwords grow old", days=(1, 365, 7), inactive=45, never=["root"])
    """

    shadow: dict[str, PasswordData] = host.get_fact(Shadow)
    wrong = [
        name
        for name, one in shadow.items()
        if one.state == "set"
        and name not in never
        and ((one.min_days, one.max_days, one.warn_days), one.inactive_days) != (days, inactive)
    ]
    if not wrong:
        host.noop("all passwords grow old")
    for name in wrong:
        yield Change(
            *(
                "chage",
                "--mindays",
                QuoteString(str(days[0])),
                "--maxdays",
                QuoteString(str(days[1])),
            ),
            *("--warndays", QuoteString(str(days[2])), "--inactive", QuoteString(str(inactive))),
            *("--", QuoteString(name)),
            touches=[ACCOUNTS],
        )


@operation()
def system_accounts(keep: Sequence[str]) -> Generator[Change]:
    """
    Make accounts that are no people have no shell and no password.

    + keep: accounts that are left alone

    **Example:**

    .. code:: python

        system_accounts(name="Let nobody log in as a system account", keep=["ops"])
    """

    accounts: AccountsData = host.get_fact(Accounts)
    shadow: dict[str, PasswordData] = host.get_fact(Shadow)
    system = [one for one in accounts.users.values() if is_system(one) and one.name not in keep]
    shells = [one.name for one in system if one.shell not in HARMLESS]
    unlocked = [one.name for one in system if is_open(shadow.get(one.name))]
    if not shells and not unlocked:
        host.noop("nobody can log in as a system account")
    for name in shells:
        yield Change("usermod", "--shell", NOLOGIN, "--", QuoteString(name), touches=[ACCOUNTS])
    for name in unlocked:
        yield Change("usermod", "--lock", "--", QuoteString(name), touches=[ACCOUNTS])


def is_system(account: AccountData) -> bool:
    """Tell whether an account is no person's; source: UID_MIN and SYS_UID_MAX of login.defs(5)."""
    return 0 < account.uid < 1000


def is_open(password: PasswordData | None) -> bool:
    """Tell whether an account has a password, or an empty one."""
    return password is not None and password.state != "locked"


@operation()
def tight_homes() -> Generator[Change]:
    """
    Make homes only their owner's and group's to enter, and dot files only the owner's to write.

    **Example:**

    .. code:: python

        tight_homes(name="Keep homes to their owners")
    """

    loose: list[Loose] = host.get_fact(LooseHomes)
    if not loose:
        host.noop("homes are their owners'")
    for one in loose:
        yield Change(
            *("runuser", "-u", QuoteString(one.user), "--"),
            *("chmod", "g-w,o-rwx", "--", QuoteString(one.path)),
            touches=[journal.file(one.path)],
        )


@operation()
def su_only(group: str) -> Generator[FileUploadCommand | Change]:
    """
    Make su refuse whoever is not in a group; root may use it as before.

    + group: the group

    **Example:**

    .. code:: python

        su_only(name="Let only a group use su", group="sugroup")
    """

    now: FileStateData | None = host.get_fact(FileState, path=SU)
    if now is None or now.kind != "file":
        raise OperationValueError(f"su_only: there is no {SU}; install the package that has su")
    text = restricted(now.text, group)
    yield from files.content._inner(
        path=SU, text=text, mode=now.mode, user=now.user, group=now.group
    )


def restricted(text: str, group: str) -> str:
    """Return the PAM file of su with the line that asks for a group, right after root's."""
    line = f"auth       required   pam_wheel.so use_uid group={group}"
    kept = [one for one in text.splitlines() if not _OURS.fullmatch(one)]
    if foreign := [one for one in kept if _WHEEL.match(one)]:
        raise OperationValueError(
            f"su_only: {SU} says {foreign[0].strip()!r}; remove the line, or leave the topic sudo "
            "out of hardening.topics"
        )
    root = [at for at, one in enumerate(kept) if re.match(r"auth\s+sufficient\s+pam_rootok", one)]
    if not root:
        raise OperationValueError(f"su_only: {SU} has no line for root; restore the package's file")
    kept.insert(root[0] + 1, line)
    return "".join(f"{one}\n" for one in kept)


@operation()
def database_begun(unit: str) -> Generator[Change]:
    """
    Have a unit build AIDE's database where there is none; nobody waits for it.

    + unit: its name with suffix

    **Example:**

    .. code:: python

        database_begun(name="Begin AIDE's database", unit="nodeproof-aide.service")
    """

    state: str = host.get_fact(AideDatabase, unit=unit)
    if state != "missing":
        host.noop(f"AIDE's database is {state}")
        return
    yield Change("systemctl start --no-block --", QuoteString(unit), touches=[journal.unit(unit)])


@operation()
def services_masked(services: Sequence[str], stop: bool = False) -> Generator[Change]:
    """
    Mask services that are there, and sockets of their names; what is not there is left alone.

    + services: their units' names without ending
    + stop: whether those that run are stopped, too; else they are left alone

    **Example:**

    .. code:: python

        services_masked(name="Mask the print server", services=["cups"])
    """

    units = [f"{name}.{kind}" for name in services for kind in ("socket", "service")]
    found: dict[str, UnitData] = host.get_fact(Units, units=",".join(units))
    wrong = [
        name
        for name, unit in found.items()
        if unit.known and unit.state != "masked" and (stop or not unit.active)
    ]
    if not wrong:
        host.noop("none of them is there, or it runs and may run on")
    for name in wrong:
        if found[name].active:
            yield Change(systemd.asked("stop", name), touches=[journal.unit(name)])
        yield Change(systemd.asked("mask", name), touches=[journal.unit(name)])
