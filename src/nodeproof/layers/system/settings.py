"""What may be asked of the system layer."""

from __future__ import annotations

from enum import StrEnum

from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.reboot import When
from nodeproof.settings.types import (
    AbsolutePath,
    GroupName,
    HostName,
    PackageName,
    PublicKey,
    ServerName,
    TimeZone,
    UserName,
)


class Sudo(StrEnum):
    """How a user becomes root."""

    NO = "no"
    PASSWORD = "password"  # noqa: S105 - a mode, not a password
    PASSWORDLESS = "passwordless"


class OtherAdmins(StrEnum):
    """What happens to administrators that the settings do not name."""

    REMOVE = "remove"
    KEEP = "keep"


class User(LayerSettings):
    """One account."""

    present: bool = setting(True, "whether the account exists; its home is never removed")
    keys: list[PublicKey] | None = setting(
        None, "the only SSH keys that may log in as this user; none leaves them alone"
    )
    sudo: Sudo = setting(Sudo.NO, "how the user becomes root", strict=False)
    shell: AbsolutePath = setting("/bin/bash", "login shell")
    groups: list[GroupName] = setting([], "groups besides its own, made where they are missing")


class Settings(LayerSettings):
    """Settings of the system layer."""

    packages: list[PackageName] = setting([], "packages to install besides what layers need")
    timezone: TimeZone = setting("Etc/UTC", "time zone")
    hostname: HostName | None = setting(None, "host name; none leaves it alone")
    ntp_servers: list[ServerName] = setting(
        [], "time servers; none means the pool that the distribution configures", max_length=16
    )
    users: dict[UserName, User] = setting({}, "accounts by name")
    other_admins: OtherAdmins = setting(
        OtherAdmins.REMOVE,
        "what happens to administrators that are not in users; who connects is never removed",
        strict=False,
    )
    reboot: When = setting(
        When.NEVER,
        "when apply reboots the node at its end; `apply --reboot` wins over it",
        strict=False,
    )
