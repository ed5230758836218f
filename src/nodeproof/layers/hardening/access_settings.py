"""What may be asked of sessions, sudo and su, schedules, and what a login is shown."""

from __future__ import annotations

from typing import Annotated

from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.types import GroupName, UserName, grammar

BannerText = Annotated[
    str,
    grammar(
        r"^[A-Za-z][A-Za-z0-9 .,:()-]*[A-Za-z0-9.]$",
        "one line of letters, digits, spaces and . , : ( ) -",
        longest=1000,
    ),
]
UMASK = r"^0?[0-7][0-7][0-7]$"
Umask = Annotated[str, grammar(UMASK, "an octal umask such as 027", longest=4)]


class Sessions(LayerSettings):
    """What a login shell begins with."""

    umask: Umask = setting("027", "rights that new files of users lack")
    timeout_s: int = setting(
        900, "an interactive shell in which nothing is typed ends", unit="s", ge=60, le=86400
    )


class Sudo(LayerSettings):
    """How sudo and su behave; who may become root is the system layer's."""

    remembers_min: int = setting(
        15, "a password is asked for again after this long", unit="min", ge=0, le=60
    )
    log_weeks: int = setting(12, "weeks for which sudo's log is kept", ge=1, le=520)
    su_group: GroupName = setting("sugroup", "the only group whose members may use su")
    su_users: list[UserName] = setting([], "its members; none: only root may")


class Schedules(LayerSettings):
    """Who may have commands run later."""

    users: list[UserName] = setting([], "who may use cron and at besides root")


class Banner(LayerSettings):
    """What is shown before and after a login."""

    text: BannerText = setting(
        "Authorized users only. All activity may be monitored and reported.",
        "shown instead of the system's name and version",
    )
