"""AIDE, which says what of the node's files has changed since."""

from __future__ import annotations

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.hardening.operations import database_begun
from nodeproof.layers.hardening.scan import LOCAL, STORES
from nodeproof.layers.hardening.settings import Settings
from nodeproof.operations import files, packages, systemd

UNITS = "/etc/systemd/system"
BUILD, CHECK = "nodeproof-aide.service", "dailyaidecheck.service"


def integrity(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Install AIDE, have its database built behind what the node is for, and look daily."""
    packages.present(
        name="Install AIDE",
        manager=distribution.package_manager,
        packages=distribution.packages["integrity"],
    )
    files.template(
        name="Keep AIDE to the node's own files",
        path="/etc/aide/aide.conf.d/09_nodeproof_elsewhere",
        source="hardening/aide-elsewhere.j2",
        values={"local": LOCAL, "left_out": [*STORES, *settings.integrity.skip]},
        mode="755",
    )
    files.template(
        name="Have AIDE watch the tools of audit",
        path="/etc/aide/aide.conf.d/09_nodeproof_tools",
        source="hardening/aide-tools.j2",
        values={},
    )
    build = files.template(
        name="Write the unit that builds AIDE's database",
        path=f"{UNITS}/{BUILD}",
        source="hardening/nodeproof-aide.service.j2",
        values={},
        notify=BUILD,
    )
    files.directory(name="Make the directory of AIDE's daily unit", path=f"{UNITS}/{CHECK}.d")
    behind = files.template(
        name="Have AIDE look behind everybody else",
        path=f"{UNITS}/{CHECK}.d/nodeproof.conf",
        source="hardening/dailyaidecheck.conf.j2",
        values={},
        notify=CHECK,
    )
    systemd.told(name="Read AIDE's build unit", unit=BUILD, after=[build], how="read")
    systemd.told(name="Read AIDE's daily unit", unit=CHECK, after=[behind], how="read")
    systemd.unit(name="Have AIDE look daily", unit="dailyaidecheck.timer")
    database_begun(name="Begin AIDE's database", unit=BUILD)
