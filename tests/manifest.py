"""Everything that a node is, to be compared with what it was."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from nodeproof.lab import ContainerNode, Machine

ALLOWED = Path(__file__).with_name("not_restored.txt")

SCRIPT = r"""
places='( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/tmp )'
find / -xdev $places -prune -o ! -type d -printf '%p\t%y %m %U %G %s %l\n'
find / -xdev $places -prune -o -type d -printf '%p\t%y %m %U %G\n'
find / -xdev $places -prune -o -type f -print0 | xargs -0 sha256sum --zero |
    tr '\0' '\n' | sed 's/^\([^ ]*\) .\(.*\)$/\2\tholds \1/'
dpkg-query -W -f 'package ${binary:Package}\t${db:Status-Abbrev} ${Version}\n'
apt-mark showmanual | sed 's/.*/mark &\tmanual/'
apt-mark showhold | sed 's/.*/mark &\thold/'
systemctl list-unit-files --no-legend | grep -v transient | sed 's/^\([^ ]*\) */unit \1\t/'
systemctl list-units --no-legend --plain --state=active --type=service,socket,timer,path |
    grep -v '^\(session\|user\|run-\)' | sed 's/^\([^ ]*\) .*/unit \1\tis active/'
find /proc/sys -type f -perm -200 ! -path '*/net/*' | while read -r path; do
    printf 'sysctl %s\t%s\n' "$(printf %s "${path#/proc/sys/}" | tr / .)" "$(cat "$path" 2>&1)"
done | grep -a "$(printf '^sysctl .*\t')"
getent passwd | sed 's/^\([^:]*\):/account \1\t/'
getent group | sed 's/^\([^:]*\):/group \1\t/'
"""

Manifest = dict[str, frozenset[str]]


def manifest(node: ContainerNode | Machine) -> Manifest:
    """Return what a node is: files, packages, units, accounts and kernel settings, by name."""
    found: dict[str, set[str]] = {}
    for line in node.ssh("sudo sh", stdin=SCRIPT).stdout.splitlines():
        name, _, said = line.partition("\t")
        found.setdefault(name, set()).add(said)
    assert len(found) > 5000, "this is not all of a node"
    return {name: frozenset(said) for name, said in found.items()}


def patterns() -> list[str]:
    """Return what may differ after a revert."""
    lines = ALLOWED.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def differences(before: Manifest, after: Manifest) -> list[str]:
    """Return what is not as it was, without what may differ."""
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return [
        f"{name}: was {sorted(before.get(name, ()))}, is {sorted(after.get(name, ()))}"
        for name in sorted(names)
        if not any(fnmatchcase(name, pattern) for pattern in patterns())
    ]
