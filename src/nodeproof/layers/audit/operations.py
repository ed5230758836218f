"""Write what is recorded, and have the kernel record it."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Any

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationValueError, QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.facts.files import FileState, FileStateData
from nodeproof.layers.audit.facts import Audit, AuditData
from nodeproof.layers.audit.found import found
from nodeproof.layers.audit.rules import missing, wanted
from nodeproof.layers.audit.seal import SEAL_HOME, Sealed
from nodeproof.layers.audit.settings import Settings
from nodeproof.operations import files, journal
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes
from nodeproof.scripts import script

_SEAL = script("seal-journal.sh")

RULES_D = "/etc/audit/rules.d"
FIRST, LAST = "10-nodeproof.rules", "nodeproof-last.rules"
"""Of several ``-b`` the last counts; the package's own file, audit.rules, has one."""
DEVICES = "/etc/tmpfiles.d/nodeproof-audit.conf"
OURS = re.compile(r"\d\d-nodeproof[a-z-]*\.rules|nodeproof-last\.rules")
WHOLE = "/etc/audit/audit.rules"
_LOG = "/run/nodeproof/audit-rules.log"

Steps = Generator[FileUploadCommand | Change]


@operation()
def rules(settings: Settings, container: bool) -> Steps:
    """
    Write the rules for what the node has, and remove those that are not wanted any more.

    + settings: of the layer
    + container: whether devices come and go with the host

    **Example:**

    .. code:: python

        rules(name="Write the audit rules", settings=settings, container=False)
    """

    there = found(settings, host.get_fact)
    texts = {
        f"{name.replace('-', '-nodeproof-', 1)}.rules": files.render("audit/rules.j2", lines=lines)
        for name, lines in wanted(settings.level, there).by_file.items()
    }
    texts[FIRST] = files.render("audit/first.rules.j2")
    texts[LAST] = files.render("audit/last.rules.j2", settings=settings)
    for name, text in texts.items():
        yield from _file(f"{RULES_D}/{name}", text)
    state: AuditData = host.get_fact(Audit)
    for name in sorted(state.files):
        if OURS.fullmatch(name) and name not in texts:
            yield from files.absent._inner(path=f"{RULES_D}/{name}")
    folders = [path.rstrip("/") for path in there.devices if path.endswith("/")]
    if folders and not container:
        text = files.render("audit/devices.conf.j2", folders=folders)
        yield from files.content._inner(path=DEVICES, text=text)
    else:
        yield from files.absent._inner(path=DEVICES)


def _file(path: str, text: str) -> Steps:
    yield from files.content._inner(path=path, text=text, mode="640")


@operation()
def loaded(unit: str, backlog: int, container: bool, after: OperationMeta) -> Steps:
    """
    Have the kernel record what the files say, no less, and nothing that was added by hand.

    + unit: auditd's, which loads the former rules again when this is taken back
    + backlog: events that may wait in the kernel
    + container: whether there is no audit; then the files are put together only
    + after: the operation that writes them

    **Example:**

    .. code:: python

        loaded(name="Load the audit rules", unit="auditd.service", backlog=8192,
               container=False, after=written)
    """

    state: AuditData = host.get_fact(Audit)
    stale = changes(after) or _stale(state)
    if state.locked:
        host.noop("the rules are locked until the next boot, which loads them")
        return
    right = not stale and (container or not _differs(state, backlog))
    if right:
        host.noop("the kernel records what the files say")
        return
    touches = [journal.file(WHOLE), journal.file(f"{WHOLE}.prev")]
    if container:
        yield Change("augenrules >/dev/null", touches=touches)
        return
    undo = Item(Kind.CUSTOM, "audit rules\tauditctl -l | sha256sum\tauditctl -D")
    yield Change(
        f"install -d -m 700 /run/nodeproof && augenrules --load >{_LOG} 2>&1;",
        f"code=$?; grep -q 'error in line' {_LOG} && code=1;",
        f"[ $code = 0 ] || tail -n 20 {_LOG} >&2; [ $code = 0 ]",
        touches=[*touches, undo, Item(Kind.TOLD, unit)],
        lasting=["rules that are locked stay loaded until the next boot"] if _locks(state) else (),
    )


def _locks(state: AuditData) -> bool:
    return "-e 2" in state.asked


def _stale(state: AuditData) -> bool:
    """Tell whether audit.rules, which is loaded at boot, is not what the files say."""
    told = {line.strip() for line in state.asked if line.strip() and not line.startswith("#")}
    whole = {line.strip() for line in state.whole if line.strip() and not line.startswith("#")}
    options = ("-b", "-f", "-D", "-e")  # of several, one is taken
    first = {line for line in told if not line.startswith(options)}
    return bool(first ^ {line for line in whole if not line.startswith(options)}) or any(
        line.startswith("-e") for line in told ^ whole
    )


def _differs(state: AuditData, backlog: int) -> bool:
    ours = [line for name, lines in state.files.items() if OURS.fullmatch(name) for line in lines]
    return bool(
        missing(ours, state.loaded)
        or missing(state.loaded, state.asked)
        or state.status.get("backlog_limit") != str(backlog)
    )


@operation()
def keys(path: str, values: Mapping[str, str], notify: str) -> Steps:
    """
    Make lines ``key = value`` of a file of auditd's say this; the others stay.

    + path: where
    + values: keys and what they must be
    + notify: unit that must be told

    **Example:**

    .. code:: python

        keys(name="Set what auditd does", path="/etc/audit/auditd.conf",
             values={"num_logs": "10"}, notify="auditd.service")
    """

    if not values:
        host.noop(f"nothing is asked of {path}")
        return
    now: FileStateData | None = host.get_fact(FileState, path=path)
    text = with_keys(now.text if now else "", values)
    if now is not None and text == now.text:
        host.noop(f"{path} is as asked")
        return
    mode = now.mode if now else "640"
    yield from files.content._inner(path=path, text=text, mode=mode, notify=notify)


def with_keys(text: str, values: Mapping[str, str]) -> str:
    """Return the text with these keys, each once; auditd refuses a file that says one twice."""
    lines, left = [], dict(values)
    for line in text.splitlines():
        key = line.partition("=")[0].strip().lower()
        if key not in values:
            lines.append(line)
        elif key in left:
            value = left.pop(key)
            same = line.partition("=")[2].strip().lower() == value.lower()
            lines.append(line if same else f"{key} = {value}")
    return "".join(f"{line}\n" for line in [*lines, *(f"{k} = {v}" for k, v in left.items())])


@operation()
def kept(group: str = "systemd-journal") -> Steps:
    """
    Make the directory in which journald keeps entries over a reboot.

    + group: who may read

    **Example:**

    .. code:: python

        kept(name="Make the directory of the journal")
    """

    now: FileStateData | None = host.get_fact(FileState, path="/var/log/journal")
    if now is not None:
        host.noop("/var/log/journal exists")
        return
    yield Change(
        *("install -d -m 2755 -g", QuoteString(group), "/var/log/journal &&"),
        "systemd-tmpfiles --create --prefix /var/log/journal",
        touches=[Item(Kind.TREE, "/var/log/journal")],
    )


@operation()
def sealed(certificate: str, interval_s: int) -> Generator[Any]:
    """
    Seal the journal; the verification key is kept for the owner of a certificate alone.

    The key is encrypted before anything is sealed with its other half, and is never written,
    printed or sent otherwise. A journal that is sealed already stays as it is.

    + certificate: PEM
    + interval_s: seconds after which an entry cannot be changed unnoticed

    **Example:**

    .. code:: python

        sealed(name="Seal the journal", certificate="-----BEGIN CERTIFICATE-----...",
               interval_s=900)
    """

    now: frozenset[str] = host.get_fact(Sealed)
    if "fss" in now and "kept" not in now:
        raise OperationValueError(
            "sealed: somebody else sealed the journal, and has its key; leave seal_for out, or "
            "remove /var/log/journal/*/fss to seal it anew"
        )
    recipient = f"{SEAL_HOME}/recipient.pem"
    yield from files.directory._inner(path=SEAL_HOME, mode="700")
    before: FileStateData | None = host.get_fact(FileState, path=recipient)
    if "fss" not in now or before is None:
        yield from files.content._inner(path=recipient, text=certificate, mode="600")
    if {"fss", "kept", "sealed"} <= now:
        host.noop("the journal is sealed")
        return
    key = f"{SEAL_HOME}/verification-key.pem"
    name = f"journal seal\tls {key}\trm -f /var/log/journal/*/fss {key}; "
    yield Change(
        *("sh -c", _SEAL, "sh", SEAL_HOME, QuoteString(f"{interval_s}s")),
        touches=[Item(Kind.CUSTOM, f"{name}journalctl --rotate")],
        lasting=["what is sealed stays sealed; the key to prove it is gone"],
    )
