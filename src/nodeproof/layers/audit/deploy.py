"""Record what happens on a node, keep it, and make tampering show."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError, deploy
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.audit import certificates
from nodeproof.layers.audit.facts import Audit, Unread
from nodeproof.layers.audit.found import too_many
from nodeproof.layers.audit.operations import WHOLE, kept, keys, loaded, rules, sealed
from nodeproof.layers.audit.settings import Remote, Settings, Shipper, auditd_conf
from nodeproof.operations import files, packages, system, systemd

AUDITD_CONF = "/etc/audit/auditd.conf"
SYSLOG_PLUGIN = "/etc/audit/plugins.d/syslog.conf"
JOURNALD = "/etc/systemd/journald.conf.d/zz-nodeproof.conf"
"""Debian has a syslog.conf beside it, and of several files the last one counts."""
RSYSLOG = "/etc/rsyslog.d/90-nodeproof.conf"
UPLOAD = "/etc/systemd/journal-upload.conf.d/nodeproof.conf"
UPLOAD_UNIT = "/etc/systemd/system/systemd-journal-upload.service.d/nodeproof.conf"
CERTIFICATES = "/etc/ssl/nodeproof-audit"
CREDENTIALS = "/run/credentials/systemd-journal-upload.service"


@deploy("audit")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Install auditd, write and load rules, keep and seal the journal, and send a copy."""
    if too_many(settings):
        raise DeployError(
            f"{host.name}: audit.device_users and device_groups name more than one rule of the "
            "kernel's can; put the users into a group, and name that"
        )
    seal_for = certificates.certificate(settings.seal_for, "seal_for") if settings.seal_for else ""
    _packages(settings, distribution)
    _auditd(settings, node, distribution)
    _journal(settings, distribution)
    if seal_for:
        sealed(name="Seal the journal", certificate=seal_for, interval_s=settings.seal_interval_s)
    if settings.remote is None or settings.remote.how is not Shipper.RSYSLOG:
        _send_nothing(distribution)
    if settings.remote is not None:
        _remote(settings.remote, distribution)


def _packages(settings: Settings, distribution: Distribution) -> None:
    needs = ["audit"]
    needs += ["audit_strict"] if settings.level == 2 else []
    needs += ["seal"] if settings.seal_for else []
    needs += [settings.remote.how.value] if settings.remote else []
    packages.present(
        name="Install what records and keeps",
        manager=distribution.package_manager,
        packages=[name for need in needs for name in distribution.packages[need]],
        brings=[AUDITD_CONF, SYSLOG_PLUGIN, WHOLE],
    )


def _auditd(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    unit = distribution.units["audit"]
    set_ = keys(
        name="Set how long events are kept", path=AUDITD_CONF, values=auditd_conf(settings),
        notify=unit,
    )  # fmt: skip
    copied = keys(
        name="Copy events to the journal",
        path=SYSLOG_PLUGIN,
        values={"active": "yes"} if settings.copied else {},
        notify=unit,
    )
    written = rules(name="Write the audit rules", settings=settings, container=node.is_container)
    # Before auditd starts: with it, the files are put together once more, and that is no step.
    loaded(
        name="Load the audit rules",
        unit=unit,
        backlog=settings.backlog,
        container=node.is_container,
        after=written,
    )
    if not node.is_container:  # a container has no audit of its own: its host records
        systemd.unit(name="Start auditd", unit=unit)
        systemd.told(
            name="Restart auditd",
            unit=unit,
            after=[set_, copied],
            stale=bool(host.get_fact(Unread)),
        )
    if host.get_fact(Audit).locked:
        system.needs_reboot(
            name="Note that the rules are locked",
            topic="audit-rules",
            reason="audit rules changed, and are locked until the next boot",
            after=[written],
        )


def _journal(settings: Settings, distribution: Distribution) -> None:
    unit = "systemd-journald.service"
    made = kept(name="Make the directory of the journal")
    _whole_seals(settings)
    _above(JOURNALD)
    written = files.template(
        name="Set what the journal keeps",
        path=JOURNALD,
        source="audit/journald.conf.j2",
        values={"settings": settings},
        notify=unit,
    )
    systemd.told(name="Restart journald", unit=unit, after=[made, written])


def _whole_seals(settings: Settings) -> None:
    """Have journald begin a new file whenever it begins: see the template."""
    for unit in ("systemd-journald.service", "systemd-journal-flush.service"):
        path = f"/etc/systemd/system/{unit}.d/nodeproof-seal.conf"
        if settings.seal_for:
            _above(path)
            written = files.template(
                name=f"Keep the seals whole over a start of {unit}",
                path=path,
                source="audit/journal-seal.unit.j2",
                values={},
                notify=unit,
            )
        else:
            written = files.absent(name=f"Let {unit} start as it did", path=path, notify=unit)
        systemd.told(name=f"Read {unit} again", unit=unit, after=[written], how="read")


def _remote(remote: Remote, distribution: Distribution) -> None:
    ca = certificates.authority(remote.ca_file, "remote.ca_file")
    own, secret = certificates.pair(remote)
    unit = distribution.units[remote.how.value]
    files.directory(name="Make the directory of certificates", path=CERTIFICATES)
    written = [
        files.content(
            name="Write whom to send to is signed by",
            path=f"{CERTIFICATES}/ca.pem",
            text=ca,
            notify=unit,
        )
    ]
    if own:
        written += [
            files.content(
                name="Write the node's certificate", path=f"{CERTIFICATES}/node.pem", text=own,
                notify=unit,
            ),
            files.content(
                name="Write the key of the node's certificate", path=f"{CERTIFICATES}/node.key",
                text=secret, mode="600", notify=unit, secret=True,
            ),
        ]  # fmt: skip
    if remote.how is Shipper.RSYSLOG:
        written += _rsyslog(remote, own, unit)
    else:
        written += _upload(remote, unit)
    systemd.unit(name="Start what sends the copy", unit=unit)
    systemd.told(name="Restart what sends the copy", unit=unit, after=written)


def _rsyslog(remote: Remote, own: str, unit: str) -> list[OperationMeta]:
    values = {
        "remote": remote,
        "ca": f"{CERTIFICATES}/ca.pem",
        "certificate": f"{CERTIFICATES}/node.pem" if own else "",
        "key": f"{CERTIFICATES}/node.key",
    }
    return [
        files.template(
            name="Send a copy by rsyslog",
            path=RSYSLOG,
            source="audit/rsyslog.conf.j2",
            values=values,
            validate=["rsyslogd", "-N1", "-f", "%s"],
            notify=unit,
        )
    ]


def _upload(remote: Remote, unit: str) -> list[OperationMeta]:
    """Its user exists only while it runs, so systemd hands it the key."""
    _above(UPLOAD_UNIT)
    _above(UPLOAD)
    asks = files.template(
        name="Give journal-upload its key",
        path=UPLOAD_UNIT,
        source="audit/journal-upload.unit.j2",
        values={"folder": CERTIFICATES},
        notify=unit,
    )
    systemd.told(name="Read the units again", unit=unit, after=[asks], how="read")
    return [
        asks,
        files.template(
            name="Send a copy by journal-upload",
            path=UPLOAD,
            source="audit/journal-upload.conf.j2",
            values={"remote": remote, "folder": CREDENTIALS},
            notify=unit,
        ),
    ]


def _send_nothing(distribution: Distribution) -> None:
    unit = distribution.units["rsyslog"]
    gone = files.absent(name="Send no copy by rsyslog", path=RSYSLOG, notify=unit)
    systemd.told(name="Have rsyslog send no copy", unit=unit, after=[gone], how="try-restart")


def _above(path: str) -> None:
    folder = path.rpartition("/")[0]
    files.directory(name=f"Make the directory {folder}", path=folder, keep=True)
