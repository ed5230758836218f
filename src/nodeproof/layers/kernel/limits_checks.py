"""Limits and core dumps, as a fresh session and a fresh service get them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from testinfra.host import Host

from nodeproof.catalog.hardening.decide import values
from nodeproof.catalog.hardening.model import Decision, Value
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.kernel.limits import NAMES, hard, in_proc, soft
from nodeproof.layers.kernel.settings import Settings, core_dumps, limits

SESSION = "su -s /bin/sh nobody -c 'cat /proc/self/limits'"
SERVICE = "systemd-run --quiet --pipe --wait --collect -- cat /proc/self/limits"


def parsed(text: str) -> dict[str, tuple[str, str]]:
    """Return soft and hard limits by their names in /proc."""
    rows = [line for line in text.splitlines() if line.startswith("Max ")]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in rows}


def otherwise(found: dict[str, tuple[str, str]], wanted: Mapping[str, Value]) -> list[str]:
    """Return the limits that are others than is wanted."""
    assert found, "no limits can be read"
    wrong = []
    for place, asked in enumerate((soft(wanted), hard(wanted))):
        for key, value in asked.items():
            is_now = found[NAMES[key]][place]
            if is_now != in_proc(key, value):
                wrong.append(f"{NAMES[key]} is {is_now}, not {in_proc(key, value)}")
    return wrong


def of(control: str, decisions: tuple[Decision, ...]) -> dict[str, Value]:
    """Return what a control sets; skips where that is nothing."""
    ours = [one for one in decisions if one.parameter.control == control]
    for one in ours:
        assert one.exception is None or one.exception.compensation
    if not values(ours):
        pytest.skip("nothing of it is asked for")
    return values(ours)


@pytest.mark.control("NP-KRN-04")
@pytest.mark.parametrize("command", [SESSION, SERVICE], ids=["session", "service"])
def test_nothing_leaves_a_core(host: Host, settings: Settings, command: str) -> None:
    """A core dump is a copy of keys, prompts and weights that nobody guards."""
    wanted = of("NP-KRN-04", limits(settings))
    wrong = otherwise(parsed(host.check_output(command)), wanted)
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-KRN-04")
def test_systemd_keeps_no_core(host: Host, settings: Settings) -> None:
    """systemd-coredump would keep what a program's limit let through."""
    wanted = of("NP-KRN-04", core_dumps(settings))
    lines = host.check_output("systemd-analyze cat-config systemd/coredump.conf").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;")
    assert {key: found.get(key) for key in wanted} == {k: str(v) for k, v in wanted.items()}


@pytest.mark.control("NP-KRN-10")
@pytest.mark.parametrize("command", [SESSION, SERVICE], ids=["session", "service"])
def test_limits_as_the_role_needs(
    host: Host, settings: Settings, node: NodeFacts, command: str
) -> None:
    """One user's program must not take all; a job must not stop for what the node can give."""
    if node.is_container:
        pytest.skip("a container cannot raise its limits over its host's")
    wanted = of("NP-KRN-10", limits(settings))
    wrong = otherwise(parsed(host.check_output(command)), wanted)
    assert not wrong, "; ".join(wrong)
