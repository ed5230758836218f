"""What the running rules let in and out, read from the JSON of nft."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nodeproof.layers.network.openings import Way
from nodeproof.layers.network.ruleset import FAMILY, NAME

Rule = dict[str, Any]
AWAY = {"jump", "goto", "vmap", "queue"}
"""Rules of ours decide by themselves; where one leads elsewhere, it may be let in there."""
LOOPBACK, ESTABLISHED, ICMP, DHCP = "loopback", "established", "ICMP", "DHCP"


@dataclass(frozen=True)
class Chain:
    """A base chain of the table of ours, with its rules in their order."""

    policy: str = "none"
    rules: tuple[Rule, ...] = ()

    def verdicts(self, verdict: str) -> Iterator[Rule]:
        """Yield the rules that end with a verdict."""
        return (one for one in self.rules if verdict in one["expr"][-1])

    def accepted(self) -> dict[str, str]:
        """Return what is accepted, in the words of `Way` or of this module, to the rule's text."""
        away = [one for one in self.rules if any(AWAY & part.keys() for part in one["expr"])]
        said = {_said(one): str(one["expr"]) for one in self.verdicts("accept")}
        return said | {str(one["expr"]): str(one["expr"]) for one in away}

    def counted_drop_last(self) -> bool:
        """Tell whether what no rule accepts is counted."""
        last = self.rules[-1]["expr"] if self.rules else []
        return any("counter" in one for one in last) and "drop" in (last[-1] if last else {})

    def limited_log(self) -> bool:
        """Tell whether a rule logs with a limit."""
        return any(
            any("log" in part for part in one["expr"]) and "limit" in str(one["expr"])
            for one in self.rules
        )


def chain(rules: Iterable[dict[str, Any]], name: str) -> Chain:
    """Return a chain of the table of ours; without a policy where there is none."""
    ours = [
        (kind, value)
        for one in rules
        for kind, value in one.items()
        if kind in ("chain", "rule") and (value["family"], value["table"]) == (FAMILY, NAME)
    ]
    found = [one for kind, one in ours if kind == "chain" and one["name"] == name]
    mine = tuple(one for kind, one in ours if kind == "rule" and one["chain"] == name)
    policy = found[0].get("policy", "none") if found and found[0].get("hook") == name else "none"
    return Chain(policy, mine)


def matches(rule: Rule) -> dict[str, Any]:
    """Return what a rule compares: ``tcp.dport``, ``ip.saddr``, ``iifname``, ``state``..."""
    return {
        _key(one["match"]["left"]): one["match"]["right"]
        for one in rule["expr"]
        if "match" in one and one["match"]["op"] in ("==", "in")
    }


def _key(left: Any) -> str:
    if "payload" in left:
        return f"{left['payload'].get('protocol', 'raw')}.{left['payload'].get('field', '')}"
    if "meta" in left:
        return str(left["meta"]["key"])
    if "ct" in left:
        way = left["ct"].get("dir", "")
        return f"ct.{way}.{left['ct']['key']}" if way else f"ct.{left['ct']['key']}"
    return str(left)


def _said(rule: Rule) -> str:
    """Return what a rule accepts, in words; its own text where it is none of those we know."""
    found = matches(rule)
    negated = any("match" in one and one["match"]["op"] not in ("==", "in") for one in rule["expr"])
    keys = set(found)
    if negated:
        return str(rule["expr"])
    if found in ({"iif": "lo"}, {"oif": "lo"}):
        return LOOPBACK
    if keys == {"ct.state"} and set(_all(found["ct.state"])) <= {"established", "related"}:
        return ESTABLISHED
    if keys & {"icmp.type", "icmpv6.type"}:
        return ICMP
    if found.get("udp.sport") in (67, 547) and found.get("udp.dport") in (68, 546):
        return DHCP
    return _way(found) or str(rule["expr"])


def _way(found: dict[str, Any]) -> str:
    dnat = "published " if found.pop("ct.status", None) == "dnat" else ""
    protocol = found.pop("l4proto", "")
    ports = [found.pop(key, None) for key in ("tcp.dport", "udp.dport", "ct.original.proto-dst")]
    sources = [found.pop(f"{ip}.{end}", None) for ip in ("ip", "ip6") for end in ("saddr", "daddr")]
    interface = found.pop("iifname", "")
    if found:
        return ""
    networks = tuple(text for one in sources if one is not None for text in _all(one))
    port = next((one for one in ports if one is not None), None)
    protocol = "tcp" if ports[0] is not None else "udp" if ports[1] is not None else protocol
    if port is not None:
        return f"{dnat}{Way(protocol, _range(port), networks, interface)}"
    where = f" on {interface}" if interface else ""
    return f"{dnat}all for {', '.join(networks) or 'any'}{where}"


def _range(port: Any) -> str:
    return (
        "-".join(map(str, port["range"]))
        if isinstance(port, dict) and "range" in port
        else str(port)
    )


def _all(value: Any) -> list[str]:
    """Return the elements of a set, or the one value, as they are written in settings."""
    if isinstance(value, dict) and "set" in value:
        return [text for one in value["set"] for text in _all(one)]
    if isinstance(value, dict) and "prefix" in value:
        return [f"{value['prefix']['addr']}/{value['prefix']['len']}"]
    if isinstance(value, list):
        return [text for one in value for text in _all(one)]
    return [str(value)]


@dataclass(frozen=True)
class Listening:
    """A socket that others could reach, were they let in."""

    protocol: str
    port: int
    program: str

    def __str__(self) -> str:
        return f"{self.program or 'the kernel'} on {self.protocol} {self.port}"


def listening(lines: Iterable[str], dynamic: tuple[int, int]) -> list[Listening]:
    """Parse ``ss -lntupH``; leave out loopback, and UDP ports that clients get for an answer."""
    found = []
    for line in lines:
        protocol, _, _, _, local, _, *rest = [*line.split(None, 6), ""]
        address, _, port = local.rpartition(":")
        bare = address.strip("[]").partition("%")[0].removeprefix("::ffff:")
        if bare == "::1" or bare.startswith("127."):
            continue
        if protocol == "udp" and dynamic[0] <= int(port) <= dynamic[1]:
            continue
        program = rest[0].partition('(("')[2].partition('"')[0]
        found.append(Listening(protocol, int(port), program))
    return sorted(set(found), key=str)
