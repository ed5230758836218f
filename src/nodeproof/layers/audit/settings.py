"""What may be asked of the audit layer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, model_validator

from nodeproof.catalog.hardening.decide import decide, exemptions, values
from nodeproof.catalog.hardening.model import Decision, Exempt, Level, Value, parameters
from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.roles import OfRoles
from nodeproof.settings.types import AbsolutePath, GroupName, HostName, Port, UserName

DISK = ("admin_space_left_action", "disk_full_action")


def _folder(path: str) -> str:
    path = path.rstrip("/")
    if path.count("/") < 2:
        raise ValueError("is too much to be recorded; name a directory in it, e.g. /srv/models")
    return path


Folder = Annotated[AbsolutePath, AfterValidator(_folder)]


class WhenFull(StrEnum):
    """What auditd does when there is no room left for its log."""

    ROTATE = "rotate"
    """The oldest events give way."""
    SUSPEND = "suspend"
    """Nothing more is recorded; the node runs on."""
    SINGLE = "single"
    HALT = "halt"


class Shipper(StrEnum):
    """What sends the log to another machine, always over TLS."""

    RSYSLOG = "rsyslog"
    JOURNAL_UPLOAD = "journal-upload"


class Own(LayerSettings):
    """What the node shows of itself; files on the operator's machine."""

    certificate_file: AbsolutePath = setting(..., "the node's certificate, a PEM file")
    key_file: AbsolutePath = setting(..., "its key, without a password; never shown")


class Remote(LayerSettings):
    """The machine that gets a copy of the log."""

    host: HostName = setting(..., "its name, which must be in its certificate")
    port: Port | None = setting(None, "none: 6514 for rsyslog, 19532 for journal-upload")
    how: Shipper = setting(Shipper.RSYSLOG, "what sends", strict=False)
    ca_file: AbsolutePath = setting(
        ..., "certificates that its own must be signed by, a PEM file on the operator's machine"
    )
    own: Own | None = setting(
        None, "what the node shows of itself, where the other side asks; journal-upload always does"
    )
    queue_mb: int = setting(
        512, "what waits on disk while the other side is away; rsyslog only", unit="MB", ge=16
    )

    @model_validator(mode="after")
    def _shows_a_certificate(self) -> Remote:
        if self.how is Shipper.JOURNAL_UPLOAD and self.own is None:
            raise ValueError("journal-upload shows a certificate of the node's; give own")
        return self

    @property
    def to_port(self) -> int:
        """The port, or the usual one."""
        usual = {Shipper.RSYSLOG: 6514, Shipper.JOURNAL_UPLOAD: 19532}
        return self.port or usual[self.how]


class Settings(OfRoles):
    """Settings of the audit layer."""

    level: Level = setting(
        1, "0 records nothing by rules, 1 what changes a node, 2 all that CIS asks, and model reads"
    )
    immutable: bool = setting(False, "whether rules are locked until the next boot")
    backlog: int = setting(
        8192, "events that may wait for auditd in the kernel", ge=1024, le=1_000_000
    )
    log_mb: int = setting(32, "size of one audit log", unit="MB", ge=6, le=10_000)
    logs: int = setting(10, "audit logs that are kept where they are rotated", ge=2, le=999)
    when_full: WhenFull | None = setting(
        None, "what auditd does without room for its log; none: by level and roles", strict=False
    )
    device_users: list[UserName] = setting(
        [], "users who are expected to open accelerators, also under another identity"
    )
    device_groups: list[GroupName] = setting(
        ["render", "video"], "groups whose members are expected to; root always is"
    )
    model_folders: list[Folder] = setting(
        [], "directories of models: changes are recorded, at level 2 reads, too"
    )
    skip_folders: list[Folder] = setting(
        [], "large directories in which no setuid programs are looked for (level 2)"
    )
    journal_mb: int = setting(
        1024, "what the journal may take on disk", unit="MB", ge=64, le=1_000_000
    )
    journal_free_mb: int = setting(
        1024, "what it leaves free for others", unit="MB", ge=64, le=1_000_000
    )
    journal_days: int = setting(
        0, "older entries are removed; 0 keeps them while there is room", unit="d", ge=0, le=3650
    )
    rate_limit_s: int = setting(30, "a service's messages are counted this long", unit="s", ge=0)
    rate_limit_burst: int = setting(10_000, "messages of a service within that time", ge=0)
    forward_to_syslog: bool = setting(
        False, "whether journald hands messages to a syslog daemon; so it is where rsyslog sends"
    )
    seal_for: AbsolutePath | None = setting(
        None,
        "seal the journal; a certificate (PEM, on the operator's machine) for whose key alone the "
        "verification key is kept",
    )
    seal_interval_s: int = setting(
        900, "what is older than this cannot be changed unnoticed", unit="s", ge=10, le=86_400
    )
    remote: Remote | None = setting(None, "the machine that gets a copy of the log")

    @property
    def to_syslog(self) -> bool:
        """Whether a syslog daemon gets what journald gets."""
        sends = self.remote is not None and self.remote.how is Shipper.RSYSLOG
        return self.forward_to_syslog or sends

    @property
    def copied(self) -> bool:
        """Whether audit events go to the journal, too: there they are sealed, or sent from."""
        return self.seal_for is not None or self.remote is not None


def decisions(settings: Settings) -> tuple[Decision, ...]:
    """Return what auditd does about its disk, with the reasons where it is not what CIS asks."""
    level = settings.level or 1
    chosen: dict[str, Value] = {}
    if settings.when_full is not None:
        chosen = dict.fromkeys(DISK, settings.when_full.value)
    return decide(parameters("auditd"), level, settings.roles, chosen)


def exceptions(settings: Settings) -> tuple[Exempt, ...]:
    """Return where the layer is on purpose other than its controls ask."""
    return exemptions(decisions(settings))


def auditd_conf(settings: Settings) -> dict[str, str]:
    """Return the keys of auditd.conf(5) that are asked for."""
    actions = {key: str(value) for key, value in values(decisions(settings)).items()}
    left = max(settings.log_mb * 2, 75)
    return {
        "max_log_file": str(settings.log_mb),
        "num_logs": str(settings.logs),
        "space_left": str(left),
        "admin_space_left": str(left * 2 // 3),
        "local_events": "yes",
        "write_logs": "yes",
        **actions,
    }
