"""Passwords, their age, system accounts and homes."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.shadow import PasswordData, Shadow
from nodeproof.facts.users import Accounts, AccountsData
from nodeproof.layers.hardening.operations import ageing, system_accounts, tight_homes
from nodeproof.layers.hardening.pam_profiles import profiles
from nodeproof.layers.hardening.settings import Settings, Topic
from nodeproof.operations import files, keyed, packages, pam

PWQUALITY = "/etc/security/pwquality.conf"


def keep_a_way_in(settings: Settings, node: NodeFacts) -> None:
    """Refuse what would lock out who connects, or close accounts at once."""
    if Topic.PASSWORDS not in settings.topics:
        return
    shadow: dict[str, PasswordData] = host.get_fact(Shadow)
    accounts: AccountsData = host.get_fact(Accounts)
    mine = shadow.get(node.login_user)
    if mine is not None and mine.expired():
        raise DeployError(
            f"{host.name}: the password of {node.login_user}, who connects, or the account itself "
            "has expired; renew it first (passwd, chage)"
        )
    empty = [
        name for name, one in shadow.items() if one.state == "empty" and may_log_in(accounts, name)
    ]
    if empty:
        raise DeployError(
            f"{host.name}: {', '.join(empty)} would be locked out: the password is empty; set one "
            "(passwd), or lock it (passwd --lock) where a key lets the user in"
        )
    old = [
        name
        for name, one in shadow.items()
        if ages(settings, node, name, one)
        and one.expired(settings.ageing.max_days)
        and not one.expired()
    ]
    if old:
        raise DeployError(
            f"{host.name}: the passwords of {', '.join(old)} are older than "
            f"hardening.ageing.max_days, {settings.ageing.max_days}, and would expire at once; "
            "have them changed, or name who shall keep theirs in hardening.ageing.never"
        )


def may_log_in(accounts: AccountsData, name: str) -> bool:
    """Tell whether an account has a shell."""
    user = accounts.users.get(name)
    return user is not None and not user.shell.endswith(("/nologin", "/false"))


def ages(settings: Settings, node: NodeFacts, name: str, password: PasswordData) -> bool:
    """Tell whether a password grows old: not root's, nor that of who connects."""
    return password.state == "set" and name not in {
        "root",
        node.login_user,
        *settings.ageing.never,
    }


def passwords(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Make new passwords strong, wrong ones lock, old ones expire."""
    packages.present(
        name="Install what judges passwords",
        manager=distribution.package_manager,
        packages=distribution.packages["passwords"],
        brings=pam.WRITTEN,
    )
    wanted = settings.pwquality()
    files.directory(name="Make the directory of pwquality's drop-ins", path=f"{PWQUALITY}.d")
    files.template(
        name="Say what a new password is like",
        path=f"{PWQUALITY}.d/90-nodeproof.conf",
        source="hardening/pwquality.conf.j2",
        values={"values": wanted},
    )
    keyed.file(  # which is read after them
        name="Let pwquality's drop-in decide", path=PWQUALITY, values=dict.fromkeys(wanted)
    )
    keyed.file(
        name="Say when wrong passwords lock",
        path="/etc/security/faillock.conf",
        values=settings.faillock(),
        separator=" = ",
    )
    pam.profiles(
        name="Lock after wrong passwords, remember old ones",
        profiles=profiles(settings.passwords.remembered),
    )
    pam.without(name="Refuse empty passwords", kind="auth", module="pam_unix.so", option="nullok")
    keyed.file(
        name="Set how passwords are kept and grow old",
        path="/etc/login.defs",
        values=settings.login_defs(),
        separator="\t",
    )
    keyed.file(
        name="Close new accounts whose password expired",
        path="/etc/default/useradd",
        values={"INACTIVE": str(settings.ageing.inactive_days)},
        separator="=",
    )
    ageing(
        name="Let the passwords of accounts grow old",
        days=(settings.min_days, settings.ageing.max_days, settings.ageing.warn_days),
        inactive=settings.ageing.inactive_days,
        never=["root", node.login_user, *settings.ageing.never],
    )


def accounts(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Give system accounts no shell and no password, and homes to their owners."""
    system_accounts(
        name="Let nobody log in as a system account",
        keep=[node.login_user, *settings.accounts.keep_shell],
    )
    if settings.accounts.tight_homes:
        tight_homes(name="Keep homes to their owners")
