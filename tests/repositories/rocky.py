"""A root that says it is Rocky Linux: real dnf and rpm on a Debian that has systemd."""

from __future__ import annotations

from nodeproof.lab import ContainerNode

PREINSTALL = ("createrepo-c", "curl", "dnf", "dnf-plugins-core", "rpm")
OS_RELEASE = """NAME="Rocky Linux"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="{release}.1"
PLATFORM_ID="platform:el{release}"
PRETTY_NAME="Rocky Linux {release}.1"
"""


def becomes_rocky(node: ContainerNode, release: str) -> None:
    """Make a node say that it is Rocky Linux, and have no package manager but dnf."""
    etc = node.root / "etc"
    (etc / "os-release").unlink()
    (etc / "os-release").write_text(OS_RELEASE.format(release=release))
    (etc / "dnf" / "vars" / "releasever").write_text(f"{release}\n")
    for tool in ("lib/apt/apt-helper", "bin/dpkg-query", "bin/apt-get", "bin/apt-cache"):
        (node.root / "usr" / tool).unlink()
    # It would offer again what was downloaded once.
    (etc / "dnf/plugins/local.conf").write_text("[main]\nenabled = 0\n")
    for folder in ("yum.repos.d", "pki/rpm-gpg"):
        (etc / folder).mkdir(parents=True, exist_ok=True)
