"""Each judge: how it is asked, and what its answer means."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "/root/judges"
HOURS_S = 3 * 3600
"""Lynis takes a quarter of an hour on an emulated machine, OpenSCAP five minutes."""
OPENSCAP = "/usr/share/xml/scap/ssg/content/ssg-{name}-ds.xml"
PROFILE = "xccdf_org.ssgproject.content_profile_cis_level{level}_server"
RULE = "xccdf_org.ssgproject.content_rule_"
APPLIES = {"pass", "fail", "error", "unknown"}


@dataclass(frozen=True)
class Verdict:
    """One judge's answer."""

    judge: str
    score: str
    """As the judge counts: ``98.4 %``, ``96``, ``0 fail 0 warn``."""
    failing: tuple[str, ...]
    """What it holds against the node, by the judge's own names."""
    detail: str = ""
    said: str = ""
    """All that it printed."""


def prepare(node: Any, packages: Sequence[Path]) -> None:
    """Bring the judges to a node: one package installed, the others only unpacked."""
    root(node, f"rm -rf {FOLDER}; mkdir -p {FOLDER}")
    root(
        node,
        "apt-get -q -q update; DEBIAN_FRONTEND=noninteractive "
        "apt-get -q -y --no-install-recommends install openscap-scanner >/dev/null",
    )
    for package in packages:
        encoded = base64.encodebytes(package.read_bytes()).decode()
        node.ssh(["sudo", "sh", "-c", f"base64 -d >{FOLDER}/{package.name}"], stdin=encoded)
        root(node, f"dpkg-deb -x {FOLDER}/{package.name} {FOLDER} && rm {FOLDER}/{package.name}")


def root(node: Any, script: str, *, check: bool = True) -> str:
    """Run a script as root on a node; return what it printed."""
    done = node.ssh(f"sudo sh -c {shlex.quote(script)}", check=check, timeout=HOURS_S)
    return str(done.stdout)


def openscap(node: Any, distribution: str, level: int) -> Verdict:
    """Ask OpenSCAP for a CIS profile of the SCAP Security Guide; not applicable does not count."""
    content = FOLDER + OPENSCAP.format(name=distribution.replace("-", ""))
    profile = PROFILE.format(level=level)
    said = root(node, f"oscap xccdf eval --profile {profile} {content} 2>/dev/null", check=False)
    return read_openscap(said, level)


def read_openscap(said: str, level: int) -> Verdict:
    """Read what ``oscap xccdf eval`` prints."""
    pairs = re.findall(r"(?m)^Rule\s+(\S+)(?:\n.+)*?\nResult\s+(\w+)$", said)
    results = {rule.removeprefix(RULE): word for rule, word in pairs}
    applicable = [rule for rule, word in results.items() if word in APPLIES]
    assert len(applicable) > 50, f"OpenSCAP judged {len(applicable)} rules: {said[-500:]}"
    failing = tuple(sorted(rule for rule in applicable if results[rule] != "pass"))
    passed = len(applicable) - len(failing)
    return Verdict(
        f"CIS L{level}",
        f"{100 * passed / len(applicable):.1f} %",
        failing,
        f"{passed} of {len(applicable)} rules",
        said,
    )


def lynis(node: Any) -> Verdict:
    """Ask Lynis, whole, as root."""
    # It reads its parts from beside itself where they are not where its package puts them.
    script = (
        f"cd {FOLDER} && chown -R root:root . && mkdir -p all && cp -a usr/share/lynis/. all/ && "
        "cp usr/sbin/lynis etc/lynis/default.prf all/ && cd all && "
        "mkdir -p plugins && ./lynis audit system --quiet --no-colors --profile ./default.prf "
        f"--report-file {FOLDER}/lynis.dat --logfile {FOLDER}/lynis.log >{FOLDER}/lynis.out 2>&1; "
        f"cat {FOLDER}/lynis.dat; grep Hardening {FOLDER}/lynis.log || tail {FOLDER}/lynis.out"
    )
    return read_lynis(root(node, script, check=False))


def read_lynis(said: str) -> Verdict:
    """Read Lynis' report file."""
    index = re.search(r"(?m)^hardening_index=(\d+)$", said)
    assert index, f"Lynis says no index: {said[-500:]}"
    found = re.findall(r"(?m)^(warning|suggestion)\[\]=([^|]+)\|([^|]*)", said)
    return Verdict(
        "Lynis",
        index[1],
        tuple(sorted({f"{name} {kind}: {text}" for kind, name, text in found})),
        f"{sum(kind == 'warning' for kind, *_ in found)} warnings",
        said,
    )


def ssh_audit(node: Any) -> Verdict:
    """Ask ssh-audit, from outside."""
    program = str(Path(sys.executable).with_name("ssh-audit"))
    done = subprocess.run(
        [program, "-j", "-p", str(node.ssh_port), node.address],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 2, 3), done.stdout + done.stderr
    return read_ssh_audit(done.stdout)


def read_ssh_audit(said: str) -> Verdict:
    """Read ssh-audit's JSON."""
    answer = json.loads(said)
    found: list[tuple[str, str, str]] = []
    for kind in ("kex", "key", "enc", "mac"):
        assert answer[kind], f"ssh-audit saw no {kind}"
        for one in answer[kind]:
            for word in ("fail", "warn"):
                if notes := one.get("notes", {}).get(word):
                    found.append((word, one["algorithm"], "; ".join(notes)))
    fails = sum(word == "fail" for word, *_ in found)
    return Verdict(
        "ssh-audit",
        f"{fails} fail {len(found) - fails} warn",
        tuple(f"{name} {word}: {why}" for word, name, why in found),
        f"{len(found)} findings",
        said,
    )
