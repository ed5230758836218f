"""What may be asked of the containers layer."""

from __future__ import annotations

from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.types import UserName

PROBE_IMAGE = "localhost/nodeproof/probe:1"
"""An image of the node's own shell, made there; checks run it."""
PROBE_DEVICE = "nodeproof.local/probe=probe"
"""A CDI device that only sets PROBE_VARIABLE in a container."""
PROBE_VARIABLE = "NODEPROOF_CDI"
CDI_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")


class Settings(LayerSettings):
    """Settings of the containers layer."""

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that are asked for, by the names of their commands."""
        return (*(["podman"] if self.podman else []), *(["docker"] if self.docker else []))

    podman: bool = setting(True, "install Podman")
    docker: bool = setting(False, "install Docker")
    compose: bool = setting(True, "install Compose for each engine that is asked for")
    cdi: bool = setting(
        True,
        "hand out devices by CDI specifications in /etc/cdi and /var/run/cdi; Docker can since 25, "
        "so on Debian 12 only Podman does",
    )
    docker_users: list[UserName] = setting(
        [], "the only users who may use Docker; whoever may is as good as root on the node"
    )
    live_restore: bool = setting(
        True, "Docker's containers go on while its daemon restarts; excludes Swarm"
    )
    no_new_privileges: bool = setting(
        True, "processes in Docker's containers cannot gain privileges, e.g. by sudo"
    )
    icc: bool = setting(
        False, "containers on Docker's default bridge reach each other; on Compose's own they do"
    )
    userland_proxy: bool = setting(
        False, "a process per published port of Docker, instead of the kernel's packet filter"
    )
    log_max_mb: int = setting(50, "a container's log is turned over at", unit="MB", ge=1, le=10_000)
    log_files: int = setting(3, "logs kept of each of Docker's containers", ge=1, le=100)
