"""Make container engines run, hardened and able to hand out devices."""

from __future__ import annotations

from pyinfra.api import deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.containers import operations
from nodeproof.layers.containers.settings import Settings
from nodeproof.operations import files, packages, systemd, users

PODMAN_CONF = "/etc/containers/containers.conf.d/50-nodeproof.conf"
DOCKER_CONF = "/etc/docker/daemon.json"
DOCKER_SOCKET = "/run/docker.sock"
CDI = "/etc/cdi"
CDI_PROBE = f"{CDI}/nodeproof-probe.json"


@deploy("containers")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Install the engines, set them up, and make the image that proves them."""
    packages.present(
        name="Install the container engines",
        manager=distribution.package_manager,
        packages=_packages(settings, node, distribution),
    )
    _cdi(settings)
    if settings.podman:
        _podman(settings, distribution)
    if settings.docker:
        _docker(settings, distribution)


def _packages(settings: Settings, node: NodeFacts, distribution: Distribution) -> list[str]:
    wanted = []
    for engine in settings.engines:
        wanted += [engine, *([f"{engine}_compose"] if settings.compose else [])]
    if node.apparmor:
        wanted.append("apparmor")  # engines confine containers only where its parser is installed
    return [package for key in wanted for package in distribution.packages[key]]


def _cdi(settings: Settings) -> None:
    if not settings.cdi:
        files.absent(name="Remove the CDI probe device", path=CDI_PROBE)
        return
    files.directory(name="Make the CDI directory", path=CDI)
    files.template(
        name="Describe the CDI probe device",
        path=CDI_PROBE,
        source="containers/nodeproof-probe.json.j2",
        values={},
    )


def _podman(settings: Settings, distribution: Distribution) -> None:
    files.directory(name="Make Podman's drop-in directory", path=PODMAN_CONF.rpartition("/")[0])
    files.template(
        name="Write Podman's drop-in",
        path=PODMAN_CONF,
        source="containers/containers.conf.j2",
        values={
            "settings": settings,
            "cdi": settings.cdi and distribution.features["podman_cdi_dirs"],
        },
    )
    systemd.unit(name="Start Podman's containers at boot", unit=distribution.units["podman"])
    operations.probe_image(name="Make Podman's probe image", engine="podman")


def _docker(settings: Settings, distribution: Distribution) -> None:
    unit = distribution.units["docker"]
    cdi = settings.cdi and distribution.features["docker_cdi"]
    without = " without CDI, which it is too old for" if settings.cdi and not cdi else ""
    files.directory(name="Make Docker's settings directory", path="/etc/docker")
    written = files.template(
        name=f"Write Docker's settings{without}",
        path=DOCKER_CONF,
        source="containers/daemon.json.j2",
        values={"settings": settings, "cdi": cdi},
        validate=["dockerd", "--validate", "--config-file", "%s"]
        if distribution.features["docker_validate"]
        else [],
        notify=unit,
    )
    systemd.unit(name="Start Docker", unit=unit)
    if settings.live_restore:
        operations.live_restore(name="Let containers outlive a restart of Docker", unit=unit)
    systemd.told(name="Restart Docker", unit=unit, after=[written])
    files.permissions(
        name="Keep others away from Docker's socket", path=DOCKER_SOCKET, mode="660", group="docker"
    )
    users.members(
        name="Let only these users use Docker", group="docker", members=settings.docker_users
    )
    operations.probe_image(name="Make Docker's probe image", engine="docker")
