"""Make container engines run, hardened and able to hand out devices."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError, deploy
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import Distribution, PackageManager
from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.choice import Refusal
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.selinux import Booleans, BooleansData
from nodeproof.layers.containers import configuration, operations
from nodeproof.layers.containers import selinux as devices
from nodeproof.layers.containers.facts import Crio
from nodeproof.layers.containers.settings import AMD_PACKAGE, NVIDIA_CONF, Settings
from nodeproof.layers.containers.stack import OURS, Toolkit, answered, toolkit
from nodeproof.operations import (
    files,
    merged,
    packages,
    repositories,
    selinux,
    stacks,
    systemd,
    users,
)
from nodeproof.repositories.stack import is_version

PODMAN_CONF = "/etc/containers/containers.conf.d/50-nodeproof.conf"
DOCKER_CONF = "/etc/docker/daemon.json"
CRIO_CONF = "/etc/crio/crio.conf.d/50-nodeproof.conf"
DOCKER_SOCKET = "/run/docker.sock"
CDI = "/etc/cdi"
ADVICE = 'say the same in both, or set containers.on_conflict to "replace"'
CDI_PROBE = f"{CDI}/nodeproof-probe.json"
CDI_FEATURES = {"podman": "podman_cdi_dirs", "docker": "docker_cdi", "containerd": "containerd_cdi"}
"""What of a distribution says whether its engine reads what toolkits describe devices by."""


@deploy("containers")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Install the engines, set them up, and make the image that proves them."""
    if settings.crio and not host.get_fact(Crio):
        raise DeployError(
            f"{host.name}: containers.crio is true, but CRI-O is not installed, and "
            f"{distribution.title} does not have it; install it from its project's packages first"
        )
    if settings.amd_runtime and not distribution.features["docker_cdi"]:
        raise DeployError(
            f"{host.name}: containers: AMD's runtime needs Docker 25, and that of "
            f"{distribution.title} is older; set amd_runtime to false"
        )
    chosen = _chosen(settings, node, distribution)
    booleans = _booleans(settings, node)
    packages.present(
        name="Install the container engines",
        manager=distribution.package_manager,
        packages=_packages(settings, chosen, node, distribution),
    )
    installed = _installed(chosen, distribution)
    for boolean, on in booleans.items():
        selinux.boolean(name=f"Set SELinux's {boolean}", boolean=boolean, on=on)
    _cdi(settings, chosen, installed)
    _nvidia(settings)
    if settings.podman:
        _podman(settings, distribution)
    if settings.docker:
        _docker(settings, distribution)
    if settings.containerd:
        _containerd(settings, distribution)
    if settings.crio:
        _crio(settings, distribution)


def _chosen(settings: Settings, node: NodeFacts, distribution: Distribution) -> Toolkit | None:
    """Return the toolkit that is installed; raises DeployError for what cannot work together."""
    if settings.toolkit == "none":
        return None
    has: Accelerators = host.get_fact(Gpus)
    answer = answered(settings, node, has, current(), whatever=False)
    if isinstance(answer, Refusal):
        raise DeployError(f"{host.name}: containers: {in_one_line(answer, OURS)}")
    if answer.container_toolkit is None or distribution.package_manager is not PackageManager.APT:
        raise DeployError(f"{host.name}: containers: {distribution.title} has no apt")
    found = toolkit(settings, answer.container_toolkit, current())
    if found.repository is None:
        raise DeployError(
            f"{host.name}: containers: no fingerprint, or no address, of the key of the "
            f"{found.title} is known; set repository_key and repository_key_uri"
        )
    if found.vendor == "amd" and not _amd_may_come(found, has):
        raise DeployError(
            f"{host.name}: containers: the package {AMD_PACKAGE} refuses to be installed where "
            "amdgpu drives no GPU; install and load the driver first (rocm.driver), then apply "
            "this layer"
        )
    if old := _too_old(settings, distribution):
        needs = current().container_toolkits[found.vendor].runtimes
        since = f" ({old} {needs[old]})" if old in needs else ""
        raise DeployError(
            f"{host.name}: containers: {old} of {distribution.title} is older than the CDI "
            f"specifications of {found.title} need{since}; set {old} or cdi to false"
        )
    return found


def _booleans(settings: Settings, node: NodeFacts) -> dict[str, bool]:
    """Return what is set in SELinux's policy; raises DeployError where that would be in vain."""
    if not node.selinux:
        return {}
    now: BooleansData = host.get_fact(Booleans, names=",".join(devices.NAMES))
    if wrong := devices.why_not(settings, node, now.live):
        raise DeployError(f"{host.name}: containers: SELinux is on: {wrong}")
    return devices.booleans(settings, now.live)


def _amd_may_come(found: Toolkit, has: Accelerators) -> bool:
    """Tell whether AMD's package lets itself be installed, or need not be."""
    there = has.container_toolkits.get(AMD_PACKAGE, "")
    drives = any(gpu.driver_in_use == "amdgpu" for gpu in has.gpus)
    return drives or (there != "" and is_version(there, found.stack.wanted[AMD_PACKAGE]))


def _too_old(settings: Settings, distribution: Distribution) -> str:
    """Return an engine that can be given no GPU, or nothing; Podman knows no other way than CDI."""
    asked = [*settings.engines, *(["containerd"] if settings.containerd else [])]
    by_hook = settings.nvidia_runtime == "legacy"
    for engine in asked if settings.cdi else []:
        if not distribution.features[CDI_FEATURES[engine]] and not (by_hook and engine != "podman"):
            return engine
    return ""


def _installed(chosen: Toolkit | None, distribution: Distribution) -> list[OperationMeta]:
    """Install the toolkit; returns the operation that does, if any."""
    if chosen is None or chosen.repository is None:
        return []
    added = repositories.apt(name="Add the toolkit's repository", repository=chosen.repository)
    newer = stacks.lists(
        name="Fetch newer package lists for the toolkit",
        manager=distribution.package_manager,
        stack=chosen.stack,
        after=[added],
    )
    amd = chosen.vendor == "amd"
    if amd:
        operations.amd_spared(name="Spare what others wrote", stack=chosen.stack)
    return [
        stacks.installed(
            name="Install the container toolkit",
            manager=distribution.package_manager,
            stack=chosen.stack,
            # NVIDIA's script makes a file that is merged later. AMD's runs when it is taken back,
            # too, and what it takes out of others' settings has to come back.
            brings=[DOCKER_CONF if amd else NVIDIA_CONF],
            after=[added, newer],
        )
    ]


def _packages(
    settings: Settings, chosen: Toolkit | None, node: NodeFacts, distribution: Distribution
) -> list[str]:
    wanted = []
    for engine in settings.engines:
        wanted += [engine, *([f"{engine}_compose"] if settings.compose else [])]
    if settings.containerd:
        wanted.append("containerd")
    if chosen is not None and chosen.vendor == "amd":
        wanted.append("amd_toolkit")
    if node.selinux and devices.wanted(settings) is not None:
        wanted.append("selinux")
    if node.apparmor:
        wanted.append("apparmor")  # engines confine containers only where its parser is installed
    return [package for key in wanted for package in distribution.packages[key]]


def _cdi(settings: Settings, chosen: Toolkit | None, installed: list[OperationMeta]) -> None:
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
    nvidia = chosen is not None and chosen.vendor == "nvidia"
    operations.cdi_refresh(
        name="Keep NVIDIA's CDI specification current",
        brings=chosen is not None and chosen.refreshes,
        after=installed if nvidia else (),
    )
    operations.amd_cdi(
        name="Keep AMD's CDI specification current", after=() if nvidia else installed
    )


def _nvidia(settings: Settings) -> None:
    if settings.nvidia_runtime != "none":
        files.directory(
            name="Make the directory of NVIDIA's runtime", path=NVIDIA_CONF.rpartition("/")[0]
        )
    merged.file(
        name="Merge the mode of NVIDIA's runtime",
        path=NVIDIA_CONF,
        form="toml",
        values=configuration.nvidia(settings),
        usual=configuration.NVIDIA_USUAL,
        replace=settings.on_conflict == "replace",
        advice=ADVICE,
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
    written = merged.file(
        name=f"Merge Docker's settings{without}",
        path=DOCKER_CONF,
        form="json",
        values=configuration.docker(settings, cdi=cdi),
        former=configuration.DOCKER_FORMER,
        replace=settings.on_conflict == "replace",
        advice=ADVICE,
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


def _containerd(settings: Settings, distribution: Distribution) -> None:
    unit = distribution.units["containerd"]
    cdi = settings.cdi and distribution.features["containerd_cdi"]
    without = " without CDI, which it is too old for" if settings.cdi and not cdi else ""
    files.directory(name="Make containerd's settings directory", path="/etc/containerd")
    written = operations.containerd(
        name=f"Merge containerd's settings{without}",
        settings=settings,
        cdi=cdi,
        advice=ADVICE,
        unit=unit,
    )
    systemd.unit(name="Start containerd", unit=unit)
    systemd.told(name="Restart containerd", unit=unit, after=[written])


def _crio(settings: Settings, distribution: Distribution) -> None:
    unit = distribution.units["crio"]
    files.directory(name="Make CRI-O's drop-in directory", path=CRIO_CONF.rpartition("/")[0])
    written = files.template(
        name="Write CRI-O's drop-in",
        path=CRIO_CONF,
        source="containers/crio.conf.j2",
        values={"settings": settings},
        notify=unit,
    )
    systemd.unit(name="Start CRI-O", unit=unit)
    systemd.told(name="Restart CRI-O", unit=unit, after=[written])
