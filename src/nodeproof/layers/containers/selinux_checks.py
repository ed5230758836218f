"""SELinux and the devices that containers are given."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.facts.node import NodeFacts
from nodeproof.facts.selinux import Booleans, BooleansData
from nodeproof.layers.containers import selinux
from nodeproof.layers.containers.settings import Settings


@pytest.fixture(scope="module")
def policy(host: Host, settings: Settings, node: NodeFacts) -> BooleansData:
    """Return what the policy says; skipped where it is not asked about."""
    if not node.selinux:
        pytest.skip("SELinux is off")
    if selinux.wanted(settings) is None:
        pytest.skip("neither a toolkit nor selinux_devices is asked for")
    done = host.run("sh -c %s", str(Booleans().command(",".join(selinux.NAMES))))
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    return Booleans().process(done.stdout.splitlines())


@pytest.mark.control("NP-CTR-08")
def test_selinux_policy_knows_devices(
    settings: Settings, node: NodeFacts, policy: BooleansData
) -> None:
    """Where no boolean opens them, each container that is given a device is denied it."""
    assert policy.policy, "could not look: SELinux says nothing of its policy"
    why = selinux.why_not(settings, node, policy.live)
    assert not why, why


@pytest.mark.control("NP-CTR-08")
def test_selinux_boolean_is_as_asked(host: Host, settings: Settings, policy: BooleansData) -> None:
    """One that was set without -P is another after the next boot."""
    wrong = []
    for name, on in selinux.booleans(settings, policy.live).items():
        word = "on" if on else "off"
        said = host.check_output("getsebool %s", name)
        if said != f"{name} --> {word}":
            wrong.append(f"{said}, not {word}")
        elif policy.kept.get(name, False) is not on:
            wrong.append(f"{name} is {word} until the next boot only")
    assert not wrong, "; ".join(wrong)
