"""Who filters on a node now, and by which way we reach it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict
from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.layers.network.ruleset import DROPIN, TABLE
from nodeproof.uncounted import Uncounted

_FIREWALLS = f"""
PATH=$PATH:/usr/sbin
for unit in firewalld ufw nftables; do
  echo "$unit $(systemctl is-active $unit) $(systemctl is-enabled $unit 2>/dev/null)"
done
! command -v ufw >/dev/null || LC_ALL=C ufw status | sed -n 's/^Status: /ufw-status /p'
[ ! -e {DROPIN} ] || echo dropin
now=$(md5sum /etc/nftables.conf 2>/dev/null) now=${{now%% *}}
case $(dpkg-query -W -f '${{Conffiles}}' nftables 2>/dev/null) in
  *" $now"*) ;; *) [ -z "$now" ] || echo own-conf ;;
esac
! command -v nft >/dev/null || {{ echo rules; nft -j list ruleset 2>/dev/null; }}
"""
_ENGINES = {"DOCKER": "Docker", "NETAVARK": "Podman", "KUBE-": "Kubernetes", "CNI-": "CNI"}


class FirewallsData(BaseModel):
    """What filters on a node, besides the table of ours."""

    model_config = ConfigDict(frozen=True)

    firewalld: bool = False
    ufw: bool = False
    own_conf: bool = False
    """Whether nftables.service loads rules of the site's own."""
    droppers: tuple[str, ...] = ()
    """Chains of others that drop what comes in."""
    engines: tuple[str, ...] = ()
    """Who forwards traffic of containers."""


class Firewalls(FactBase[FirewallsData]):
    """
    What filters on a node, besides the table of ours.

    .. code:: python

        FirewallsData(firewalld=False, ufw=False, droppers=("ip filter INPUT",), engines=())
    """

    called = "who filters"

    @override
    def command(self) -> str:
        """Return a command that prints units, then all rules as JSON."""
        return _FIREWALLS

    @staticmethod
    @override
    def default() -> FirewallsData:
        """Return that nobody filters."""
        return FirewallsData()

    @override
    def process(self, output: list[str]) -> FirewallsData:
        """Parse both."""
        split = output.index("rules") if "rules" in output else len(output)
        words = {line.split()[0]: line.split()[1:] for line in output[:split] if line.split()}
        text = "\n".join(output[split + 1 :]).strip()
        rules = json.loads(text)["nftables"] if text else []
        nftables = words.get("nftables", [])
        used = "active" in nftables or "enabled" in nftables
        return FirewallsData(
            firewalld="active" in words.get("firewalld", []),
            ufw="active" in words.get("ufw-status", []),
            own_conf="own-conf" in words and "dropin" not in words and used,
            droppers=droppers(rules),
            engines=engines(rules),
        )


def droppers(rules: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the base chains of others that drop what comes in unless a rule accepts it."""
    chains = [one["chain"] for one in rules if "chain" in one]
    found = [
        f"{one['family']} {one['table']} {one['name']}"
        for one in chains
        if one.get("hook") == "input" and one.get("policy") == "drop"
    ]
    return tuple(sorted(one for one in found if not one.startswith(f"{TABLE} ")))


def engines(rules: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return whose chains forward traffic of containers."""
    names = {one["chain"]["name"].upper() for one in rules if "chain" in one}
    names |= {one["table"]["name"].upper() for one in rules if "table" in one}
    return tuple(
        engine for begin, engine in _ENGINES.items() if any(one.startswith(begin) for one in names)
    )


_WAY = r"""
PATH=$PATH:/usr/sbin
sshd -T 2>/dev/null | sed -n 's/^port /port /p'
p=$$
while [ "${p:-0}" -gt 1 ]; do
  c=$(tr '\0' '\n' 2>/dev/null </proc/$p/environ | sed -n 's/^SSH_CONNECTION=//p')
  if [ -n "$c" ]; then set -- $c; echo "peer $1"; echo "port $4"; break; fi
  p=$(sed 's/.*) . //; s/ .*//' /proc/$p/stat)
done
"""


class SshWayData(BaseModel):
    """How others, and we, reach the node."""

    model_config = ConfigDict(frozen=True)

    ports: tuple[int, ...] = ()
    """Of the running sshd, and the one that our connection uses."""
    peer: Annotated[str, Uncounted("another controller may have another one")] = ""
    """Our address, as the node sees it; empty where there is no connection."""


class SshWay(FactBase[SshWayData]):
    """
    The ports of sshd, and the address that we connect from.

    .. code:: python

        SshWayData(ports=(22,), peer="192.0.2.7")
    """

    called = "the way in over ssh"

    @override
    def command(self) -> str:
        """Return a command that prints ``port N`` and ``peer ADDRESS`` lines."""
        return _WAY

    @staticmethod
    @override
    def default() -> SshWayData:
        """Return no way."""
        return SshWayData()

    @override
    def process(self, output: list[str]) -> SshWayData:
        """Parse the lines."""
        words = [line.split() for line in output]
        ports = {int(one[1]) for one in words if one[:1] == ["port"]}
        peers = [one[1] for one in words if one[:1] == ["peer"]]
        return SshWayData(ports=tuple(sorted(ports)), peer=peers[0] if peers else "")
