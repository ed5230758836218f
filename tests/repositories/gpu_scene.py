"""The gpu layer on a node that becomes an image for HGX H100, whatever its package manager."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from nodeproof.lab import ContainerNode
from tests.repositories import layer_scene
from tests.repositories.signing import Key
from tests.support import Done

STATE = r"""
find /etc /usr/src /usr/lib/systemd ! -name '*.cache' ! -name 'ld.so*' -type f -exec sha256sum {} +
find /etc /usr/src -printf '%p %y %m %U %G %l\n'
dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n'
apt-mark showhold; apt-mark showmanual | sed 's/^/manual /'
systemctl list-unit-files --no-legend | grep -v transient
"""


class Served(Protocol):
    """A repository in a folder."""

    key: Key
    key_file: str


class Scene(layer_scene.Scene):
    """A node, the repository that it reaches, and what is asked of it."""

    looks = STATE
    kernel: str
    """Of the machines that the image is for."""

    def __init__(self, node: ContainerNode, folder: Path, served: Served, url: str) -> None:
        super().__init__(node, folder)
        self.served, self.url = served, url

    def asked(self, driver: str, **more: Any) -> dict[str, Any]:
        """Return what asks for a driver."""
        settings = {
            "driver": driver,
            "image": {"gpus": ["10de:2330"], "nvswitches": 4, "kernel": self.kernel},
            "repository_uri": self.url,
            "repository_key": self.served.key.fingerprint,
            "repository_key_uri": f"{self.url}{self.served.key_file}",
            **more,
        }
        return {"gpu": settings}

    def run(self, command: str, driver: str, **more: Any) -> Done:
        """Plan, apply or verify it."""
        return self.do(command, self.asked(driver, **more))

    def failing(self, driver: str, **more: Any) -> set[str]:
        """Return the checks that fail."""
        return self.failed(self.run("verify", driver, **more))
