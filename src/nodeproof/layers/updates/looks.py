"""How checks look at a node: commands that only read, and what they say."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from testinfra.host import Host

from nodeproof.layers.updates import policy
from nodeproof.scripts import text
from nodeproof.updates.guard import SETS

GUARDED = f"cat {SETS}/*.conf 2>/dev/null | sed -n 's/^package \\([^ ]*\\) .*/\\1/p'; true"
"""Prints the packages that some update guard names."""
DKMS_OWNERS = (
    "for at in /var/lib/dkms/*/*/source; do "
    '[ ! -e "$at" ] || dpkg-query -S "$(readlink -f "$at")/dkms.conf" 2>/dev/null; done | '
    "sed 's/:.*//' | sort -u"
)
"""Prints the packages that brought what DKMS builds."""
_NEEDRESTART = r"""
our %nrconf; our $LOGPREF = ""; $nrconf{verbosity} = 0; my @units = @ARGV;
my $file = "/etc/needrestart/needrestart.conf";
-r $file or die "$file cannot be read\n";
eval do { local(@ARGV, $/) = $file; <> }; die $@ if $@;
print "mode ", $nrconf{restart} // "i", "\n";
for my $unit (@units) {
    my @said = map { $nrconf{override_rc}{$_} } grep { $unit =~ /$_/ } keys %{$nrconf{override_rc}};
    print "$unit\n" if !@said or grep { $_ } @said;
}
"""
RESTARTS = f"perl -e {shlex.quote(_NEEDRESTART.replace('%', '%%'))}"
"""Prints needrestart's mode, then of the units that are named those that it would restart."""
UPGRADABLE = "LC_ALL=C apt list --upgradable 2>/dev/null"


@dataclass(frozen=True)
class Dump:
    """apt's configuration: keys and values, in their order."""

    lines: tuple[tuple[str, str], ...]

    def last(self, key: str) -> str:
        """Return the value that counts; nothing where there is none."""
        return next((value for name, value in reversed(self.lines) if name == key.lower()), "")

    def all(self, key: str) -> list[str]:
        """Return the values of a list."""
        return [value for name, value in self.lines if name.startswith(f"{key.lower()}::")]


def dump(said: str) -> Dump:
    """Return what ``apt-config dump`` said."""
    found = re.findall(r'^(\S+) "(.*)";$', said, re.MULTILINE)
    if not found:
        raise AssertionError("apt-config says nothing")
    return Dump(tuple((key.lower(), value) for key, value in found))


def unattended(host: Host) -> dict[str, list[str]]:
    """Return what unattended-upgrade says of itself: origin, alone, would."""
    said = host.run("timeout 120 python3 -B -c %s", text("unattended-look.py"))
    if said.rc != 0:
        raise AssertionError(f"unattended-upgrade cannot be asked: {said.stderr.strip()[-500:]}")
    found: dict[str, list[str]] = {"origin": [], "alone": [], "would": []}
    for line in said.stdout.splitlines():
        kind, _, value = line.partition(" ")
        if kind in found:
            found[kind].append(value)
    return found


def after_upgrades(host: Host) -> list[str]:
    """Return the commands that follow an unattended upgrade, as systemd knows them."""
    said = host.check_output("systemctl show -p ExecStartPost -- %s", f"{policy.UPGRADES}.service")
    return [one.strip() for one in re.findall(r"argv\[\]=(.*?) ;", said)]


def open_updates(said: str) -> dict[str, str]:
    """Return the security updates that are open: names to versions, of what apt listed."""
    found = re.findall(r"^([^/\s]+)/(\S*-security\S*) (\S+) ", said, re.MULTILINE)
    return {name: version for name, _, version in found}
