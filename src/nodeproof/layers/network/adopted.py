"""What is let in, in the words of firewalld and ufw."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

from nodeproof.layers.network.openings import Way

POLICY = "nodeproof"
"""A policy of firewalld of our own: zones, services and rules of the site stay as they are."""
POLICY_FOLDER = "/etc/firewalld/policies"
POLICY_PATH = f"{POLICY_FOLDER}/{POLICY}.xml"
COMMENT = "nodeproof"
"""By this comment rules of ours are told from those of the site."""


def rich_rules(ways: Iterable[Way]) -> list[str]:
    """Return firewalld's rich rules, as firewall-cmd lists them."""
    rules = []
    for way in ways:
        port = f'port port="{way.ports}" protocol="{way.protocol}" accept'
        family = "ipv6" if way.family == "ip6" else "ipv4"
        for network in way.networks:
            rules.append(f'rule family="{family}" source address="{network}" {port}')
        if not way.networks:
            rules.append(f"rule {port}")
    return rules


def policy(ways: Iterable[Way]) -> str:
    """Return the policy as a file (firewalld.policy(5)): from anywhere to this machine."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<!-- Managed by nodeproof (network). Local changes are overwritten. -->",
        '<policy target="CONTINUE" priority="-1">',
        f"  <short>{POLICY}</short>",
        '  <ingress-zone name="ANY"/>',
        '  <egress-zone name="HOST"/>',
    ]
    for way in ways:
        port = f"<port port={quoteattr(way.ports)} protocol={quoteattr(way.protocol)}/><accept/>"
        family = "ipv6" if way.family == "ip6" else "ipv4"
        for network in way.networks:
            source = f"<source address={quoteattr(network)}/>"
            lines.append(f"  <rule family={quoteattr(family)}>{source}{port}</rule>")
        if not way.networks:
            lines.append(f"  <rule>{port}</rule>")
    return "\n".join([*lines, "</policy>", ""])


def ufw_rules(ways: Iterable[Way]) -> list[str]:
    """Return rules as ``ufw show added`` prints them, without the comment."""
    rules = []
    for way in ways:
        ports = way.ports.replace("-", ":")
        for network in way.networks:
            rules.append(f"allow from {network} to any port {ports} proto {way.protocol}")
        if way.interface:
            rules.append(f"allow in on {way.interface} to any port {ports} proto {way.protocol}")
        elif not way.networks:
            rules.append(f"allow {ports}/{way.protocol}")
    return list(dict.fromkeys(rules))


def there(added: Iterable[str]) -> list[str]:
    """Return what the lines of ``ufw show added`` allow, ours and the site's, without comments."""
    return [
        line.removeprefix("ufw ").partition(" comment '")[0]
        for line in added
        if line.startswith("ufw ")
    ]


def ours(added: Iterable[str]) -> list[str]:
    """Return which of the lines of ``ufw show added`` are ours, without the comment."""
    end = f" comment '{COMMENT}'"
    return [
        line.removeprefix("ufw ").removesuffix(end)
        for line in added
        if line.startswith("ufw ") and line.endswith(end)
    ]
