"""The workloads' profile, read by each distribution's own AppArmor parser."""

from __future__ import annotations

import pytest

from nodeproof.catalog.distributions import distributions
from nodeproof.lab import ContainerNode
from nodeproof.layers.confinement.settings import Settings
from tests.unit.test_layer_confinement import EXTREME, NOTHING, profile

pytestmark = pytest.mark.nodes


@pytest.mark.parametrize("settings", [Settings(), EXTREME, NOTHING], ids=["default", "all", "none"])
def test_profile_is_accepted_by_the_parser(pair: list[ContainerNode], settings: Settings) -> None:
    node = pair[0]
    version = node.ssh(". /etc/os-release; echo debian-$VERSION_ID").stdout.strip()
    text = profile(settings, distributions()[version].features["apparmor_abi"])
    parse = "sudo sh -c 'cat >/tmp/profile && apparmor_parser -Q -K /tmp/profile'"
    node.ssh(parse, stdin=text)
    broken = node.ssh(parse, stdin=text.replace("capability", "").replace("}", ""), check=False)
    assert broken.returncode != 0
