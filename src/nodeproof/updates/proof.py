"""Whether a node is guarded, and whole: how to look, and what to make of it. For layers' checks."""

from __future__ import annotations

import re
import shlex

from nodeproof.updates.guard import PROGRAM, UNIT, Guard, parse

_LOOK = r"""
say() { printf '== %s %s\n' "$1" "$2"; }
say set; [ ! -r "$1" ] || cat "$1"
say owner "$(stat -c '%U %a' "$1" "$2" 2>/dev/null | sort -u | tr '\n' ' ')"
if command -v apt-config >/dev/null; then
    say apt
    apt-config dump | grep -i '^\(DPkg\|Nodeproof\|Unattended-Upgrade::Package-Blacklist\)::'
fi
say unit "$(systemctl is-enabled "$3" 2>&1)"
say status; "$2" status 2>&1; say code $?
"""
_SAFE = {"root 644", "root 755", "root 600", "root 700", "root 640", "root 750"}


def look(guard: Guard) -> str:
    """Return a shell command that only reads; `problems` understands what it prints."""
    words = ("sh", "-c", _LOOK, "sh", guard.path, PROGRAM, UNIT)
    return " ".join(map(shlex.quote, words))


def problems(guard: Guard, said: str, *, runs: bool = True) -> list[str]:
    """Return why a node does not have this guard, or is not whole; nothing where it is.

    + guard: what is asked for
    + said: what `look` printed on the node
    + runs: whether the node runs what is guarded; an image is for a kernel that does not run here
    """
    parts = _parts(said)
    if missing := {"set", "owner", "unit", "status", "code"} - parts.keys():
        return [f"could not look: nothing is said of {', '.join(sorted(missing))}"]
    found = []
    if parse(parts["set"][1:]) != parse(guard.text().splitlines()):
        found.append(f"{guard.path} does not name what is asked for")
    if not {one.strip() for one in re.findall(r"\S+ \S+", parts["owner"][0])} <= _SAFE:
        found.append(f"somebody but root may write {guard.path} or {PROGRAM}")
    if "apt" in parts:
        found += _apt(guard, parts["apt"][1:])
    if parts["unit"][0] != "enabled":
        found.append(f"{UNIT} does not look after a boot: it is {parts['unit'][0] or 'missing'}")
    if runs and parts["code"][0] != "0":
        found += [line.strip() for line in parts["status"][1:]] or [f"{PROGRAM} fails"]
    return found


def _parts(said: str) -> dict[str, list[str]]:
    """Return sections by name: the rest of the heading, then its lines."""
    parts: dict[str, list[str]] = {}
    name = ""
    for line in said.splitlines():
        if line.startswith("== "):
            _, name, *rest = line.split(" ", 2)
            parts[name] = ["".join(rest).strip()]
        elif name:
            parts[name].append(line)
    return parts


def _apt(guard: Guard, dump: list[str]) -> list[str]:
    values = [line.partition(" ") for line in dump]
    hooks = [value for key, _, value in values if key == "DPkg::Pre-Install-Pkgs::"]
    versions = [v for key, _, v in values if key == f"DPkg::Tools::Options::{PROGRAM}::Version"]
    excluded = {v for key, _, v in values if key == "Unattended-Upgrade::Package-Blacklist::"}
    wanted = {
        line.partition(" ")[2]
        for line in guard.exclusions_text().splitlines()
        if line.startswith("Unattended-Upgrade::")
    }
    found = []
    if f'"{PROGRAM} transaction";' not in hooks or versions != ['"3";']:
        found.append("apt does not ask the update guard before it changes packages")
    if any(key.lower() == "nodeproof::updateguard" and "off" in v for key, _, v in values):
        found.append("the update guard is switched off in apt's configuration")
    if left := wanted - excluded:
        found.append(f"unattended upgrades may change {', '.join(sorted(left))}")
    return found
