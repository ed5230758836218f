"""The gpu layer configures IMEX: what may be asked, what is refused, done, and proven.

What nvidia-imex-ctl says is of the shape that NVIDIA's own tests of clouds take for it
(NVIDIA/ai-cloud-validation, "confirmed live" in September 2026).
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.context import ctx_host
from tests.unit.test_layer_gpu_operations import Node

from nodeproof.catalog.resolve.choice import Choice, CompanionChoice, DriverChoice
from nodeproof.layers.gpu import checks
from nodeproof.layers.gpu.facts import LiveDriver
from nodeproof.layers.gpu.imex import Addresses, Domain, parse_domain, troubles
from nodeproof.layers.gpu.refusals import why_not
from nodeproof.layers.gpu.settings import Imex, Settings

NODES = ["10.0.0.1", "10.0.0.2"]


def said(status: str = "UP", first: str = "READY", second: str = "READY") -> str:
    """Return what nvidia-imex-ctl -N -j prints; it keeps no order."""
    connections = {str(n): {"host": one, "status": "CONNECTED"} for n, one in enumerate(NODES)}
    return json.dumps(
        {
            "nodes": {
                "1": {"status": second, "host": NODES[1], "connections": connections},
                "0": {"status": first, "host": NODES[0], "connections": connections},
            },
            "timestamp": "9/4/2026 00:00:00.000",
            "status": status,
        }
    )


# What may be asked


@pytest.mark.parametrize(
    ("imex", "wrong"),
    [
        ({}, "Field required"),
        ({"nodes": []}, "at least 1"),
        ({"nodes": ["node-1"]}, "should match pattern"),
        ({"nodes": ["10.0.0.256"]}, "does not appear to be an IPv4"),
        ({"nodes": ["10.0.0"]}, "does not appear to be an IPv4"),
        ({"nodes": ["127.0.0.1"]}, "no address by which other nodes"),
        ({"nodes": ["::"]}, "no address by which other nodes"),
        ({"nodes": ["fd00::1", "FD00:0::1"]}, "holds 'fd00::1' twice"),
        ({"nodes": ["10.0.0.1\n10.0.0.2"]}, "should match pattern"),
        ({"nodes": NODES, "channel": 0}, "not permitted"),
    ],
)
def test_what_cannot_be_asked(imex: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        Settings.model_validate({"imex": imex})


def test_a_channel_for_all_users_is_asked_of_the_module() -> None:
    option = "NVreg_CreateImexChannel0"
    assert option not in Settings().options
    assert Settings(imex=Imex(nodes=NODES)).options[option] == "0"
    assert Settings(imex=Imex(nodes=NODES, shared_channel=True)).options[option] == "1"
    assert Settings(module_options={option: "1"}).options[option] == "1"
    with pytest.raises(ValidationError, match=r"is what imex\.shared_channel sets"):
        Settings(imex=Imex(nodes=NODES), module_options={option: "1"})


# What is read


def test_own_addresses_are_read() -> None:
    assert Addresses().process(["10.0.0.1 FD00:0::1 "]) == ("10.0.0.1", "fd00::1")
    done = subprocess.run(["sh", "-c", Addresses().command()], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    Addresses().process(done.stdout.splitlines())


def test_a_domain_is_read_in_its_order() -> None:
    domain = parse_domain(said())
    assert domain.status == "UP"
    assert [(one.address, one.status) for one in domain.members] == [
        (one, "READY") for one in NODES
    ]


@pytest.mark.parametrize("text", ["", "Failed to connect", "[]", "null", '{"nodes": []}', "{}"])
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(ValueError, match="nvidia-imex-ctl: said"):
        parse_domain(text)


@pytest.mark.parametrize(
    ("domain", "asked", "wrong"),
    [
        (said(), NODES, []),
        (said(), NODES[::-1], ["its nodes are 10.0.0.1 10.0.0.2, not 10.0.0.2 10.0.0.1"]),
        (said(), NODES[:1], ["its nodes are 10.0.0.1 10.0.0.2, not 10.0.0.1"]),
        (
            said("DEGRADED", second="UNAVAILABLE"),
            NODES,
            ["10.0.0.2 is UNAVAILABLE", "the domain is DEGRADED"],
        ),
    ],
)
def test_what_is_wrong_with_a_domain(domain: str, asked: list[str], wrong: list[str]) -> None:
    assert [*troubles(parse_domain(domain), asked)] == wrong


def test_a_domain_of_nobody() -> None:
    assert [*troubles(Domain("DOWN", ()), NODES)] == [
        "its nodes are none, not 10.0.0.1 10.0.0.2",
        "the domain is DOWN",
    ]


# What is refused

RACK = Choice(
    driver=DriverChoice(version="580.178.04", branch="580", modules="open", origin="vendor"),
    companions=(
        CompanionChoice(id="imex", packages=("nvidia-imex",), version="580.178.04", exact=True),
    ),
)
IMEX = Settings(imex=Imex(nodes=NODES))


def refused(settings: Settings, chosen: Choice, *own: str) -> str:
    with ctx_host.use(Node(Addresses=own)):
        return why_not(settings, chosen, "bare", asks_gpus=True)


def test_refused_before_the_first_change() -> None:
    assert refused(IMEX, RACK, "192.168.0.7", "10.0.0.2") == ""
    assert refused(Settings(), RACK) == ""
    alone = RACK.model_copy(update={"companions": ()})
    assert "imex: no GPU here is part of a rack" in refused(IMEX, alone, "10.0.0.2")
    assert "none of this node's addresses is among them (10.0.0.3)" in refused(
        IMEX, RACK, "10.0.0.3"
    )
    assert "none could be read" in refused(IMEX, RACK)


# What is proven


class Host:
    """A node that gives one answer."""

    def __init__(self, answer: str, *, there: bool = True) -> None:
        self.answer, self.there = answer, there

    def check_output(self, command: str, *arguments: str) -> str:
        return self.answer

    def run(self, command: str, *arguments: str) -> Any:
        return type("Done", (), {"succeeded": self.there})


ENABLED = "ActiveState=active\nUnitFileState=enabled"
SHARED = Imex(nodes=NODES, shared_channel=True)
LIVE = LiveDriver(loaded="580.178.04")


def test_checks_pass_on_what_is_right() -> None:
    imex = IMEX.imex
    assert imex
    checks.test_imex_runs(Host(ENABLED), IMEX, imex)
    checks.test_imex_is_the_drivers(Host("IMEX version is: 580.178.04\n"), LIVE, imex)
    checks.test_imex_domain_is_the_one_asked_for(Host(said()), IMEX, imex)
    checks.test_imex_channel_as_asked(Host(""), IMEX, SHARED)


def test_checks_fail_on_what_is_not() -> None:
    imex = IMEX.imex
    assert imex
    with pytest.raises(AssertionError, match="does not start at boot: it is disabled"):
        checks.test_imex_runs(Host(ENABLED.replace("enabled", "disabled")), IMEX, imex)
    with pytest.raises(AssertionError, match=r"nvidia-imex\.service is failed"):
        checks.test_imex_runs(Host(ENABLED.replace("active", "failed", 1)), IMEX, imex)
    newer = replace(LIVE, loaded="580.180.01")
    with pytest.raises(AssertionError, match=r"driver 580\.180\.01 is loaded, and IMEX version is"):
        checks.test_imex_is_the_drivers(Host("IMEX version is: 580.178.04\n"), newer, imex)
    with pytest.raises(AssertionError, match=r"10\.0\.0\.1 is UNAVAILABLE"):
        checks.test_imex_domain_is_the_one_asked_for(Host(said(first="UNAVAILABLE")), IMEX, imex)
    with pytest.raises(ValueError, match="nvidia-imex-ctl: said"):
        checks.test_imex_domain_is_the_one_asked_for(Host("Failed to connect"), IMEX, imex)
    with pytest.raises(AssertionError, match="channel0 is not there"):
        checks.test_imex_channel_as_asked(Host("", there=False), IMEX, SHARED)
