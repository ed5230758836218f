"""What AIDE watches, and files that should not be as they are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import pytest
from testinfra.host import Host

from nodeproof.facts.node import NodeFacts
from nodeproof.layers.hardening.asked import needs
from nodeproof.layers.hardening.scan import IN_HOMES, LOCAL, STORES
from nodeproof.layers.hardening.settings import Settings, Topic

AIDE = "aide --config=/etc/aide/aide.conf"
BUILD, CHECK = "nodeproof-aide.service", "dailyaidecheck.service"


def find(skip: Sequence[str]) -> str:
    """Return a script that prints what is odd, ``WHAT<TAB>PATH``, once for each file system."""
    pruned = " -o ".join(f"-path {shlex.quote(path)}" for path in (*STORES, *IN_HOMES, *skip))
    what = " , ".join(
        f"\\( {test} -printf '{name}\\t%p\\n' \\)"
        for name, test in {
            "suid": "-type f -perm /6000",
            "file": "-type f -perm -0002",
            "directory": "-type d -perm -0002 ! -perm -1000",
            "unowned": "\\( -nouser -o -nogroup \\)",
        }.items()
    )
    types = "|".join(LOCAL)
    return (
        f"awk '$2 == \"/\" || $3 ~ /^({types})$/ {{ print $2 }}' /proc/mounts | sort -u | "
        'while read -r place; do place=$(printf %b "$place"); '
        'device=$(stat -c %d -- "$place") || exit 1; case " $seen " in *" $device "*) continue ;; '
        'esac; seen="$seen $device"; nice -n 19 ionice -c 3 find "$place" -xdev '
        f"\\( {pruned} \\) -prune -o \\( {what} \\) || exit 1; done"
    )


@pytest.fixture(scope="module")
def odd(host: Host, settings: Settings) -> dict[str, list[str]]:
    """Return paths by what is odd about them; one walk for all checks."""
    needs(settings, Topic.INTEGRITY)
    done = host.run(find(settings.integrity.skip))
    # A file that vanishes meanwhile is no reason to have seen none.
    said = [line for line in done.stderr.splitlines() if "No such file" not in line]
    assert not said, said[0]
    found: dict[str, list[str]] = {"suid": [], "file": [], "directory": [], "unowned": []}
    for line in done.stdout.splitlines():
        name, _, path = line.partition("\t")
        found.setdefault(name, []).append(path)
    assert found["suid"], "not even su or passwd was found; was nothing looked at?"
    return found


@pytest.mark.control("NP-HRD-21")
def test_database_is_there(host: Host, settings: Settings) -> None:
    """Who has nothing to compare with sees no change."""
    needs(settings, Topic.INTEGRITY)
    state = host.check_output("systemctl show -p ActiveState --value %s", BUILD)
    if state == "activating":
        pytest.skip("AIDE's database is being built")
    assert host.check_output("stat -c '%a %U' /var/lib/aide/aide.db") == "600 root"


@pytest.mark.control("NP-HRD-21")
def test_files_are_compared_daily(host: Host, settings: Settings) -> None:
    """A change that is found after a year is found too late."""
    needs(settings, Topic.INTEGRITY)
    timer = host.check_output("systemctl show -p ActiveState,UnitFileState dailyaidecheck.timer")
    assert {*timer.split()} == {"ActiveState=active", "UnitFileState=enabled"}
    valid = host.run(f"{AIDE} --config-check")
    assert valid.succeeded, valid.stderr


@pytest.mark.control("NP-HRD-21")
@pytest.mark.parametrize("unit", [BUILD, CHECK])
def test_comparing_gives_way(host: Host, settings: Settings, unit: str) -> None:
    """Reading all files of a node must not slow down what the node is for."""
    needs(settings, Topic.INTEGRITY)
    found = host.check_output(
        "systemctl show -p Nice,IOSchedulingClass,CPUSchedulingPolicy %s", unit
    )
    wanted = {"Nice=19", "IOSchedulingClass=3", "CPUSchedulingPolicy=5"}
    assert {*found.split()} == wanted


@pytest.mark.control("NP-HRD-22")
@pytest.mark.parametrize("tool", ["auditctl", "auditd", "ausearch", "aureport", "augenrules"])
def test_tools_of_audit_are_watched(host: Host, settings: Settings, tool: str) -> None:
    """Who changes what shows the log need not change the log."""
    needs(settings, Topic.INTEGRITY)
    done = host.run(f"{AIDE} --path-check f:/usr/sbin/{tool}")
    assert "sha512" in done.stdout, f"AIDE does not watch /usr/sbin/{tool}: {done.stdout}"


@pytest.mark.control("NP-HRD-22")
def test_what_is_not_the_nodes_is_not_watched(host: Host, settings: Settings) -> None:
    """Images, scratch and other machines' files change by the million, and mean nothing here."""
    needs(settings, Topic.INTEGRITY)
    watched = [
        path for path in (*STORES[:3], *settings.integrity.skip) if _is_watched(host, f"{path}/x")
    ]
    assert not watched, f"AIDE looks into {', '.join(watched)}"


def _is_watched(host: Host, path: str) -> bool:
    done = host.run(f"{AIDE} --path-check %s", f"f:{path}")
    said = re.search(r"(?m)^\[([X ])\]", done.stdout)
    assert said, f"AIDE does not say whether it watches {path}: {done.stdout}{done.stderr}"
    return said[1] == "X"


@pytest.mark.control("NP-HRD-23")
def test_programs_of_root_are_known(
    host: Host, settings: Settings, node: NodeFacts, odd: dict[str, list[str]]
) -> None:
    """A program that runs as root for everybody is root for whoever finds a hole in it."""
    ask = (
        'for f in "$@"; do dpkg-query -S "$f" >/dev/null 2>&1 || '
        'dpkg-query -S "${f#/usr}" >/dev/null 2>&1 || printf "%s\\n" "$f"; done'
    )
    names = " ".join(map(shlex.quote, odd["suid"]))
    strange = {*host.check_output(f"sh -c {shlex.quote(ask)} sh {names}").splitlines()}
    extra = sorted(strange - {*settings.integrity.suid})
    assert not extra, f"of no package, nor in integrity.suid: {', '.join(extra)}"


@pytest.mark.control("NP-HRD-24")
def test_nothing_is_everybodys_to_write(odd: dict[str, list[str]]) -> None:
    """What everybody can write to, somebody does."""
    wrong = odd["file"] + odd["directory"]
    assert not wrong, f"{len(wrong)} are writable by everybody: {', '.join(wrong[:10])}"


@pytest.mark.control("NP-HRD-24")
def test_everything_has_an_owner(odd: dict[str, list[str]]) -> None:
    """What nobody owns belongs to the next account that gets the number."""
    wrong = odd["unowned"]
    assert not wrong, f"{len(wrong)} are nobody's: {', '.join(wrong[:10])}"
