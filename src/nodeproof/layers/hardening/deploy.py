"""Apply what was asked for, topic by topic."""

from __future__ import annotations

from collections.abc import Callable

from pyinfra.api import deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.hardening.access_deploy import banner, schedules, sessions, sudo
from nodeproof.layers.hardening.accounts_deploy import accounts, keep_a_way_in, passwords
from nodeproof.layers.hardening.files_deploy import own_files
from nodeproof.layers.hardening.integrity_deploy import integrity
from nodeproof.layers.hardening.services_deploy import services
from nodeproof.layers.hardening.settings import Settings, Topic

TOPICS: dict[Topic, Callable[[Settings, NodeFacts, Distribution], None]] = {
    Topic.PASSWORDS: passwords,
    Topic.ACCOUNTS: accounts,
    Topic.SESSIONS: sessions,
    Topic.SUDO: sudo,
    Topic.SCHEDULES: schedules,
    Topic.BANNER: banner,
    Topic.FILES: own_files,
    Topic.INTEGRITY: integrity,
    Topic.SERVICES: services,
}


@deploy("hardening")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Refuse what would lock somebody out, then go through the topics."""
    keep_a_way_in(settings, node)
    for topic, make in TOPICS.items():
        if topic in settings.topics:
            make(settings, node, distribution)
