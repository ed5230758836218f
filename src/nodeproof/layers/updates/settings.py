"""What may be asked of the updates layer."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from nodeproof.settings import setting
from nodeproof.settings.roles import OfRoles, Role
from nodeproof.settings.types import (
    AbsolutePath,
    MailAddress,
    PackageName,
    ServiceStem,
    UpdateWindow,
)


class Automatic(StrEnum):
    """What nodes do about security updates by themselves."""

    OFF = "off"
    DOWNLOAD = "download"
    INSTALL = "install"


class Kernels(StrEnum):
    """Whether kernels come unattended."""

    PROVEN = "proven"
    HELD = "held"


class Reboot(StrEnum):
    """Whether a node reboots itself after an unattended upgrade that asks for it."""

    NEVER = "never"
    IF_NEEDED = "if-needed"
    WINDOW = "window"


class MailReport(StrEnum):
    """When unattended upgrades write a mail."""

    ON_CHANGE = "on-change"
    ONLY_ON_ERROR = "only-on-error"
    ALWAYS = "always"


class Settings(OfRoles):
    """Settings of the updates layer; see unattended-upgrade(8)."""

    automatic: Automatic = setting(
        Automatic.INSTALL,
        "what is done by itself: nothing, fetch what can be upgraded, or install security updates",
        strict=False,
    )
    window: UpdateWindow | None = setting(
        None, "when they are installed; none: at 6:00, an hour of delay at random"
    )
    kernels: Kernels = setting(
        Kernels.PROVEN,
        "whether kernels come unattended: where all DKMS modules build for them, or never",
        strict=False,
    )
    exclude: list[PackageName] = setting(
        [], "packages that are left alone, besides those that are held"
    )
    reboot: Reboot = setting(
        Reboot.NEVER,
        "whether a node reboots itself after an unattended upgrade that asks for it: never, "
        "when nothing runs, or then and in the window only",
        strict=False,
    )
    drain_hook: AbsolutePath | None = setting(
        None, "a program that ends or moves the node's work before it reboots itself, or fails"
    )
    max_open_days: int = setting(
        14, "a security update or a reboot that waits for longer fails", unit="d", ge=1, le=365
    )
    mail: MailAddress | None = setting(None, "who is told; the node must be able to send mail")
    mail_report: MailReport = setting(MailReport.ON_CHANGE, "when a mail is sent", strict=False)
    keep_running: list[ServiceStem] = setting(
        [], "services that are never restarted, by how their names begin; besides those known"
    )

    @property
    def scheduled(self) -> set[Role]:
        """Return the roles in which somebody else decides where work runs."""
        return {Role.SLURM, Role.KUBERNETES, Role.OPENPBS} & set(self.roles)

    @model_validator(mode="after")
    def _can_reboot(self) -> Self:
        if self.reboot is Reboot.WINDOW and self.window is None:
            raise ValueError("reboot is window, but there is no window; name one")
        if self.reboot is not Reboot.NEVER and self.automatic is not Automatic.INSTALL:
            raise ValueError("reboot needs automatic to be install")
        if self.reboot is not Reboot.NEVER and self.scheduled and self.drain_hook is None:
            names = ", ".join(sorted(self.scheduled))
            raise ValueError(f"reboot needs a drain_hook on a node of {names}")
        return self
