"""What may be asked of the hardening layer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from nodeproof.catalog.hardening.model import Decision
from nodeproof.layers.hardening.access_settings import Banner, Schedules, Sessions, Sudo
from nodeproof.layers.hardening.accounts_settings import Accounts, Ageing, Lockout, Passwords
from nodeproof.layers.hardening.integrity_settings import Integrity
from nodeproof.layers.hardening.services_settings import CLIENTS, SERVICES, Services, decided
from nodeproof.settings import setting
from nodeproof.settings.roles import OfRoles


class Topic(StrEnum):
    """A part of the layer that may be left out."""

    PASSWORDS = "passwords"
    ACCOUNTS = "accounts"
    SESSIONS = "sessions"
    SUDO = "sudo"
    SCHEDULES = "schedules"
    BANNER = "banner"
    FILES = "files"
    INTEGRITY = "integrity"
    SERVICES = "services"


class Settings(OfRoles):
    """Settings of the hardening layer."""

    level: int = setting(1, "1 for any server, 2 where more may be given up for it", ge=1, le=2)
    topics: list[Annotated[Topic, Field(strict=False)]] = setting(
        list(Topic), "what it is about; what is left out is neither changed nor proven"
    )
    passwords: Passwords = setting(Passwords(), "what new passwords are like")
    lockout: Lockout = setting(Lockout(), "what wrong passwords lead to")
    ageing: Ageing = setting(Ageing(), "how old passwords become")
    accounts: Accounts = setting(Accounts(), "system accounts and homes")
    sessions: Sessions = setting(Sessions(), "what login shells begin with")
    sudo: Sudo = setting(Sudo(), "how sudo and su behave")
    schedules: Schedules = setting(Schedules(), "who may use cron and at")
    banner: Banner = setting(Banner(), "what a login is shown")
    integrity: Integrity = setting(Integrity(), "which files are watched")
    services: Services = setting(Services(), "which services and clients stay")

    @property
    def locks_root(self) -> bool:
        """Whether wrong passwords lock root, too."""
        return self.level == 2 if self.lockout.root is None else self.lockout.root

    @property
    def min_days(self) -> int:
        """Days before a password may be changed again."""
        asked = self.ageing.min_days
        return self.level - 1 if asked is None else asked

    def services_decided(self) -> tuple[Decision, ...]:
        """Return what becomes of each service that the catalog names."""
        return decided(SERVICES, self.level, self.roles, self.services.keep)

    def clients_decided(self) -> tuple[Decision, ...]:
        """Return what becomes of each client that the catalog names."""
        return decided(CLIENTS, self.level, self.roles, self.services.keep_packages)

    def faillock(self) -> dict[str, str | None]:
        """Return what faillock.conf(5) has to say."""
        own, root = str(self.lockout.unlock_s), str(self.lockout.root_unlock_s)
        return {
            "deny": str(self.lockout.tries),
            "unlock_time": own,
            "fail_interval": own,
            "even_deny_root": "" if self.locks_root else None,
            "root_unlock_time": root if self.locks_root else None,
        }

    def pwquality(self) -> dict[str, str]:
        """Return what pwquality.conf(5) has to say."""
        asked = self.passwords
        credit = "-1" if asked.min_classes == 4 else "0"
        return {
            "minlen": str(asked.min_length),
            "minclass": str(asked.min_classes),
            "difok": str(asked.differing),
            "maxrepeat": str(asked.max_repeat),
            "maxsequence": str(asked.max_sequence),
            **dict.fromkeys(("dcredit", "ucredit", "lcredit", "ocredit"), credit),
            "dictcheck": "1",
            "enforcing": "1",
            "enforce_for_root": "",
        }

    def login_defs(self) -> dict[str, str]:
        """Return what login.defs(5) has to say."""
        return {
            "PASS_MAX_DAYS": str(self.ageing.max_days),
            "PASS_MIN_DAYS": str(self.min_days),
            "PASS_WARN_AGE": str(self.ageing.warn_days),
            "ENCRYPT_METHOD": "YESCRYPT",
            "YESCRYPT_COST_FACTOR": "5",
        }
