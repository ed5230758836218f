"""Rights of the files by which accounts and the boot are decided."""

from __future__ import annotations

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.hardening.settings import Settings
from nodeproof.operations import files

MODES = {
    "/etc/passwd": ("644", "root"),
    "/etc/passwd-": ("644", "root"),
    "/etc/group": ("644", "root"),
    "/etc/group-": ("644", "root"),
    "/etc/shadow": ("640", "shadow"),
    "/etc/shadow-": ("640", "shadow"),
    "/etc/gshadow": ("640", "shadow"),
    "/etc/gshadow-": ("640", "shadow"),
    "/etc/shells": ("644", "root"),
    "/etc/security/opasswd": ("600", "root"),
}
"""What is there gets these modes and groups, as the benchmarks ask (CIS 7.1)."""


def own_files(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Keep the databases of accounts, and the boot loader's configuration, to root."""
    for path, (mode, group) in MODES.items():
        files.permissions(name=f"Set the rights of {path}", path=path, mode=mode, group=group)
    files.permissions(
        name="Keep the boot loader's configuration to root",
        path="/boot/grub/grub.cfg",
        mode="600",
    )
