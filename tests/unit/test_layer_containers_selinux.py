"""What SELinux is told of containers' devices, what is refused, and what checks see."""

from __future__ import annotations

from typing import Any

import pytest

from nodeproof.facts.node import NodeFacts
from nodeproof.facts.selinux import BooleansData
from nodeproof.layers.containers import selinux_checks as checks
from nodeproof.layers.containers.selinux import EVERY, RENDERING, booleans, wanted, why_not
from nodeproof.layers.containers.settings import Settings

ENFORCING, PERMISSIVE, NONE = (NodeFacts(selinux=one) for one in ("1", "0", ""))
REDHAT = {EVERY: False}
DEBIAN = {RENDERING: False}


@pytest.mark.parametrize(
    ("asked", "live", "sets"),
    [
        ({}, REDHAT, {}),
        ({"toolkit": "latest"}, REDHAT, {EVERY: True}),
        ({"toolkit": "latest"}, DEBIAN, {RENDERING: True}),
        ({"toolkit": "latest"}, {}, {}),
        ({"selinux_devices": True}, {**DEBIAN, **REDHAT}, {EVERY: True}),
        ({"selinux_devices": False}, {**DEBIAN, **REDHAT}, {EVERY: False, RENDERING: False}),
        ({"selinux_devices": False, "toolkit": "latest"}, DEBIAN, {RENDERING: False}),
    ],
)
def test_what_is_set(asked: dict[str, Any], live: dict[str, bool], sets: dict[str, bool]) -> None:
    assert booleans(Settings.model_validate(asked), live) == sets


@pytest.mark.parametrize(
    ("asked", "node", "live", "said"),
    [
        ({}, ENFORCING, {}, ""),
        ({"toolkit": "latest"}, ENFORCING, REDHAT, ""),
        ({"toolkit": "latest"}, ENFORCING, DEBIAN, f"its policy has no {EVERY}"),
        ({"toolkit": "latest"}, PERMISSIVE, DEBIAN, ""),
        ({"toolkit": "latest"}, NONE, {}, ""),
        ({"toolkit": "latest", "selinux_devices": False}, ENFORCING, DEBIAN, ""),
        ({"selinux_devices": True}, ENFORCING, DEBIAN, ""),
        ({"selinux_devices": True}, PERMISSIVE, {}, f"neither of {EVERY} and {RENDERING}"),
        ({"selinux_devices": True}, NONE, {}, ""),
    ],
)
def test_what_is_refused(
    asked: dict[str, Any], node: NodeFacts, live: dict[str, bool], said: str
) -> None:
    """Debian's policy has no boolean for /dev/nvidia* and /dev/kfd."""
    why = why_not(Settings.model_validate(asked), node, live)
    assert said in why if said else why == ""


class Host:
    """A node whose getsebool says this."""

    def __init__(self, said: str) -> None:
        self.said = said

    def check_output(self, command: str, name: str) -> str:
        assert command == "getsebool %s"
        return f"{name} --> {self.said}"


ON = BooleansData("default", live={RENDERING: True}, kept={RENDERING: True})


def test_a_boolean_as_it_is() -> None:
    asked = Settings(selinux_devices=True)
    checks.test_selinux_boolean_is_as_asked(Host("on"), asked, ON)
    with pytest.raises(AssertionError, match="container_use_dri --> off, not on"):
        checks.test_selinux_boolean_is_as_asked(Host("off"), asked, ON)
    until = BooleansData("default", live={RENDERING: True})
    with pytest.raises(AssertionError, match="is on until the next boot only"):
        checks.test_selinux_boolean_is_as_asked(Host("on"), asked, until)
    with pytest.raises(AssertionError, match="container_use_dri --> on, not off"):
        checks.test_selinux_boolean_is_as_asked(Host("on"), Settings(selinux_devices=False), ON)


def test_a_policy_that_denies_devices() -> None:
    toolkit = Settings(toolkit="latest")
    with pytest.raises(AssertionError, match="has no container_use_devices"):
        checks.test_selinux_policy_knows_devices(toolkit, ENFORCING, ON)
    checks.test_selinux_policy_knows_devices(toolkit, PERMISSIVE, ON)
    with pytest.raises(AssertionError, match="could not look"):
        checks.test_selinux_policy_knows_devices(toolkit, PERMISSIVE, BooleansData())


@pytest.mark.parametrize(("asked", "node"), [({}, ENFORCING), ({"toolkit": "latest"}, NONE)])
def test_where_it_is_not_asked_about(asked: dict[str, Any], node: NodeFacts) -> None:
    policy = checks.policy.__wrapped__  # type: ignore[attr-defined]
    assert (wanted(Settings.model_validate(asked)) is None) == (not asked)
    with pytest.raises(pytest.skip.Exception):
        policy(None, Settings.model_validate(asked), node)
