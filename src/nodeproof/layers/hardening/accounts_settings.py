"""What may be asked of passwords and accounts."""

from __future__ import annotations

from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.types import UserName


class Passwords(LayerSettings):
    """What a new password has to be like; see pwquality.conf(5) and pam_pwhistory(8)."""

    min_length: int = setting(14, "characters at least", ge=8, le=128)
    min_classes: int = setting(
        4, "kinds of characters at least: lower case, upper case, digits, others", ge=1, le=4
    )
    differing: int = setting(2, "characters that the old one did not have", ge=1, le=32)
    max_repeat: int = setting(3, "the same character in a row", ge=1, le=16)
    max_sequence: int = setting(3, "characters in a row as in abcd or 4321", ge=1, le=16)
    remembered: int = setting(24, "old ones that may not be used again", ge=1, le=400)


class Lockout(LayerSettings):
    """What happens to guessed passwords; keys are not concerned. See faillock.conf(5)."""

    tries: int = setting(5, "wrong passwords after which an account is locked", ge=3, le=50)
    unlock_s: int = setting(
        900, "how long it is, and how long a wrong one counts", unit="s", ge=60, le=86400
    )
    root: bool | None = setting(None, "whether root is locked, too; none: at level 2")
    root_unlock_s: int = setting(60, "how long root is", unit="s", ge=60, le=86400)


class Ageing(LayerSettings):
    """How old passwords become; who has none but keys is not concerned, nor who connects."""

    max_days: int = setting(365, "days after which a new one is asked for", unit="d", ge=1, le=9999)
    min_days: int | None = setting(
        None, "days before it may be changed again; none: 0, at level 2 1", unit="d", ge=0, le=30
    )
    warn_days: int = setting(7, "days of warning before", unit="d", ge=1, le=60)
    inactive_days: int = setting(
        45, "days after that until the account is closed", unit="d", ge=1, le=365
    )
    never: list[UserName] = setting([], "accounts whose passwords keep the age that they have")


class Accounts(LayerSettings):
    """Accounts that are no people, and homes of those that are."""

    keep_shell: list[UserName] = setting(
        [], "system accounts that keep their shell, as postgres may need it"
    )
    tight_homes: bool = setting(
        True, "homes that only their owner and group may enter, and dot files only theirs to write"
    )
