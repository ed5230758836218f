"""What is not in force yet: security updates that are open, and reboots that are pending."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

from nodeproof.facts.packages import PackagesData
from nodeproof.layers.updates import policy
from nodeproof.layers.updates.looks import UPGRADABLE, open_updates
from nodeproof.layers.updates.settings import Settings

Record = Callable[[str, object], None]
DAY = 86400

_SUITES = r"""
for at in /var/lib/apt/lists/*Release; do
    [ -f "$at" ] || continue
    awk -F ': ' -v at="${at##*/}" '
        /^Suite: .*-security/ || /^Codename: .*-security/ { security = 1 }
        /^Date: / { date = $2 }
        /^(SHA|MD5)/ { exit }
        END { if (security) print at "|" date }' "$at" | while IFS='|' read -r name date; do
        echo "$name $(date -d "$date" +%s)"
    done
done
"""
_REBOOT = r"""
for at in /run/reboot-required /run/nodeproof/reboot-required; do
    [ ! -e "$at" ] || stat -c %Y -- "$at"
done | sort -n | head -n 1 | sed 's/^/since /'
cat /run/reboot-required.pkgs 2>/dev/null | sort -u | sed 's/^/for /'
needrestart -b -k 2>/dev/null |
    sed -n 's/^NEEDRESTART-KCUR: /runs /p; s/^NEEDRESTART-KEXP: /boots /p'
"""


@pytest.fixture(scope="module")
def now(host: Host) -> int:
    """Return the node's time."""
    return int(host.check_output("date +%s"))


@pytest.mark.control("NP-UPD-04")
def test_package_lists_recent(host: Host, settings: Settings, now: int) -> None:
    """From old lists nothing is open, whatever has been found since."""
    rows = [line.split() for line in host.check_output("sh -c %s", _SUITES).splitlines()]
    assert rows, "no repository of security updates is there"
    old = {name: (now - int(date)) // DAY for name, date in rows}
    wrong = [
        f"{name} is {age} days old" for name, age in old.items() if age > settings.max_open_days
    ]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-UPD-04")
def test_no_security_update_open_for_long(
    host: Host, settings: Settings, packages: PackagesData, now: int, record_property: Record
) -> None:
    """What is fixed elsewhere is known to whoever attacks."""
    found = open_updates(host.check_output(UPGRADABLE))
    noted = host.run("cat %s", policy.NOTED)
    assert noted.rc == 0, f"{policy.NOTED} is missing: nobody knows since when updates are open"
    rows = (line.split() for line in noted.stdout.splitlines())
    since = {row[0]: int(row[2]) for row in rows if len(row) == 4}
    days = {name: (now - since.get(name, now)) // DAY for name in found}
    said = ", ".join(_open(name, days[name], packages.held) for name in sorted(found))
    record_property("measured", f"{len(found)} open: {said}" if found else "none is open")
    late = [name for name in found if days[name] > settings.max_open_days]
    assert not late, (
        f"{len(late)} of {len(found)} open for more than {settings.max_open_days} days: {said}"
    )


def _open(name: str, days: int, held: tuple[str, ...]) -> str:
    return f"{name} ({days} d{', held' if name in held else ''})"


@pytest.mark.control("NP-UPD-07")
def test_no_reboot_pending_for_long(
    host: Host, settings: Settings, now: int, record_property: Record
) -> None:
    """A fixed kernel on the disk protects nobody."""
    said = host.check_output("sh -c %s", _REBOOT)
    since = re.search(r"^since (\d+)$", said, re.MULTILINE)
    why = ", ".join(re.findall(r"^for (.*)$", said, re.MULTILINE)) or "something asks for it"
    days = (now - int(since[1])) // DAY if since else 0
    record_property("measured", f"a reboot is needed for {days} d: {why}" if since else "none is")
    assert days <= settings.max_open_days, f"a reboot is needed for {days} days: {why}"
