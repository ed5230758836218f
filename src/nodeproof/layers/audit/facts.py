"""What the audit layer alone needs to know of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

PRIVILEGED = r"""
at() { while read -r _ mount kind options _; do
    case $kind in ext[234]|xfs|btrfs|f2fs|zfs|overlay|reiserfs|jfs|bcachefs) ;; *) continue;; esac
    case ,$options, in *,nosuid,*|*,noexec,*) continue;; esac
    printf '%b\n' "$mount"
done </proc/self/mounts | sort -u; }
at | while IFS= read -r mount; do
    find "$mount" -xdev \( -path /proc -o -path /sys -o -path '*/.local/share/containers' \
        -o -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/containers \
        -o -path /var/lib/kubelet -o -path /var/lib/nodeproof "$@" \) -prune \
        -o -type f -perm /6000 ! -name '* *' -print 2>/dev/null
done
true # what vanished while find looked is no error
"""
"""Programs with setuid or setgid on local file systems on which these count, and not those inside
images of containers; arguments are more of find's ``-o -path PATH``."""

SYSCALLS = r"""
command -v ausyscall >/dev/null || exit 0
case $(uname -m) in
    x86_64) pairs='b64:x86_64 b32:i386' option=IA32_EMULATION;;
    aarch64) pairs='b64:aarch64 b32:arm' option=COMPAT;;
    *) pairs="b64:$(uname -m)" option=;;
esac
config=/boot/config-$(uname -r)
for pair in $pairs; do
    if [ "${pair%%:*}" = b32 ] && [ -r "$config" ]; then
        grep -q "^CONFIG_$option=y" "$config" || continue
    fi
    ausyscall "${pair#*:}" --dump 2>/dev/null | while read -r number name _; do
        case $number in *[!0-9]*) ;; *) echo "${pair%%:*} $name";; esac
    done
done
"""

DEVICES = r"""
for path in /dev/nvidia* /dev/kfd /dev/gdrdrv /dev/dri /dev/accel /dev/infiniband /dev/hl[0-9]* \
    /dev/dxg; do
    if [ -d "$path" ]; then echo "device $path/"; elif [ -c "$path" ]; then echo "device $path"; fi
done
"""

FOUND = (
    r"""
[ "$1" = -- ] && shift
while [ $# -gt 0 ]; do
    case $1 in
        path:*) path=${1#path:}; above=${path%/}; above=${above%/*}
            [ ! -d "${above:-/}" ] || echo "path $path";;
        program:*) path=${1#program:}
            [ ! -f "$path" ] || echo "program $path $(readlink -f -- "$path")";;
        model:*) path=${1#model:}; [ ! -d "$path" ] || echo "model $path";;
        user:*) echo "user ${1#user:} $(getent passwd -- "${1#user:}" | cut -d: -f3)";;
        group:*) echo "group ${1#group:} $(getent group -- "${1#group:}" | cut -d: -f3)";;
    esac
    shift
done
"""
    + DEVICES
)


@dataclass(frozen=True)
class PlacesData:
    """What of that which was asked about a node has."""

    paths: frozenset[str] = frozenset()
    programs: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    users: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)


class Places(FactBase[PlacesData]):
    """
    What of that which was asked about a node has, and its devices.

    .. code:: python

        PlacesData(paths={"/etc/passwd"}, devices=("/dev/nvidia0", "/dev/dri/"), ...)
    """

    called = "what the audit rules are about"

    @override
    def command(self, asked: str) -> StringCommand:
        """Return a script that is asked about words such as ``path:/etc`` and ``user:slurm``."""
        words = [QuoteString(word) for word in asked.split()]
        return StringCommand("sh", "-c", QuoteString(FOUND), "sh", "--", *words)

    @staticmethod
    @override
    def default() -> PlacesData:
        """Return nothing."""
        return PlacesData()

    @override
    def process(self, output: list[str]) -> PlacesData:
        """Parse its lines: what, and then a name and what it stands for."""
        rows = [line.split() for line in output]

        def named(kind: str) -> list[list[str]]:
            return [row[1:] for row in rows if row[0] == kind]

        return PlacesData(
            paths=frozenset(row[0] for row in named("path")),
            programs={row[0]: row[1] for row in named("program")},
            models=tuple(row[0] for row in named("model")),
            devices=tuple(row[0] for row in named("device")),
            users={row[0]: int(row[1]) for row in named("user") if len(row) > 1},
            groups={row[0]: int(row[1]) for row in named("group") if len(row) > 1},
        )


class KnownSyscalls(FactBase[Mapping[str, frozenset[str]]]):
    """
    The system calls that audit knows on this architecture; none where it is not installed.

    .. code:: python

        {"b64": frozenset({"chmod", ...}), "b32": frozenset({...})}
    """

    default = dict
    called = "the system calls that audit knows"

    @override
    def command(self) -> StringCommand:
        """Return a script that prints an architecture and a name a line."""
        return StringCommand("sh", "-c", QuoteString(SYSCALLS))

    @override
    def process(self, output: list[str]) -> Mapping[str, frozenset[str]]:
        """Parse it."""
        rows = [line.split() for line in output]
        return {
            arch: frozenset(row[1] for row in rows if row[0] == arch)
            for arch in dict.fromkeys(row[0] for row in rows)
        }


class Privileged(FactBase[tuple[str, ...]]):
    """
    Programs with setuid or setgid on local file systems.

    .. code:: python

        ("/usr/bin/passwd", "/usr/bin/sudo")
    """

    default = tuple
    called = "programs that run as somebody else"

    @override
    def command(self, without: str = "") -> StringCommand:
        """Return a script that looks for them, but not in these directories."""
        words = [QuoteString(word) for path in without.split() for word in ("-o", "-path", path)]
        return StringCommand("sh", "-c", QuoteString(PRIVILEGED), "sh", *words)

    @override
    def process(self, output: list[str]) -> tuple[str, ...]:
        """Return the lines."""
        return tuple(sorted(set(output)))


STATE = (
    "auditctl -s 2>/dev/null | sed 's/^/status /'; auditctl -l 2>/dev/null | sed 's/^/loaded /'; "
    "for f in /etc/audit/rules.d/*.rules; do "
    '[ ! -f "$f" ] || sed "s,^,file ${f##*/} ," "$f"; done; '
    "cat /etc/audit/audit.rules 2>/dev/null | sed 's/^/whole /'; true"
)


@dataclass(frozen=True)
class AuditData:
    """What the kernel records, and what the files say that it shall."""

    status: Mapping[str, str] = field(default_factory=dict)
    """What auditctl -s says; nothing where nobody answers."""
    loaded: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Lines of each file in rules.d."""
    whole: tuple[str, ...] = ()
    """Lines of audit.rules, which augenrules makes of the files."""

    @property
    def locked(self) -> bool:
        """Whether the rules cannot be changed before the next boot."""
        return self.status.get("enabled") == "2"

    @property
    def asked(self) -> list[str]:
        """The rules of all files."""
        return [line for lines in self.files.values() for line in lines]


class Audit(FactBase[AuditData]):
    """
    The kernel's rules and those of the files.

    .. code:: python

        AuditData(status={"enabled": "1"}, loaded=("-w /etc/passwd -p wa -k identity",), ...)
    """

    called = "the kernel's audit rules"
    uncounted = "events that are lost and wait are in it; the files, and what is wanted, count"

    @override
    def command(self) -> StringCommand:
        """Return a command whose lines begin with where they are from."""
        return StringCommand("sh", "-c", QuoteString(STATE))

    @staticmethod
    @override
    def default() -> AuditData:
        """Return nothing."""
        return AuditData()

    @override
    def process(self, output: list[str]) -> AuditData:
        """Parse it."""

        def lines(kind: str) -> list[str]:
            begin = f"{kind} "
            return [line.removeprefix(begin) for line in output if line.startswith(begin)]

        files: dict[str, list[str]] = {}
        for line in lines("file"):
            name, _, said = line.partition(" ")
            files.setdefault(name, []).append(said)
        return AuditData(
            status=dict(line.split(" ", 1) for line in lines("status") if " " in line),
            loaded=tuple(line for line in lines("loaded") if line != "No rules"),
            files={name: tuple(said) for name, said in files.items()},
            whole=tuple(lines("whole")),
        )


UNREAD = "find /etc/audit /etc/audit/plugins.d -maxdepth 1 -name '*.conf' -newer /run/auditd.pid"
"""Prints what of its configuration auditd has not read as it is now; it writes its pid first."""


class Unread(FactBase[list[str]]):
    """
    What of auditd's configuration changed after the running auditd had read it.

    .. code:: python

        ["/etc/audit/auditd.conf"]
    """

    default = list
    uncounted = "it follows from the files, which count, and from when they were written"

    @override
    def command(self) -> str:
        """Return a command that prints paths, a line each; nothing where none runs."""
        return f"{UNREAD} 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> list[str]:
        """Take the lines as they are."""
        return output
