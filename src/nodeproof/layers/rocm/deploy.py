"""Make a node drive and use AMD's GPUs: a driver, and ROCm releases side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyinfra import host
from pyinfra.api import DeployError, deploy
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import Distribution, PackageManager
from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.choice import Refusal, StackChoice
from nodeproof.catalog.whole import Catalog
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import AptPackages, PackagesData
from nodeproof.layers.rocm import choice, operations
from nodeproof.layers.rocm.facts import Live, LiveDriver, option_is
from nodeproof.layers.rocm.settings import GROUPS, UNIT, Settings
from nodeproof.layers.rocm.stack import (
    DRIVER_PACKAGES,
    INSECURE,
    Release,
    driver_repository,
    needs_driver_repository,
    release,
)
from nodeproof.operations import files, initramfs, packages, repositories, stacks, system, users
from nodeproof.repositories.spec import AptRepository

MODPROBE = "/etc/modprobe.d/nodeproof-rocm.conf"
UNITS = "/etc/systemd/system"


@dataclass(frozen=True)
class _Stack:
    """What is installed, and from where."""

    releases: tuple[Release, ...]
    """The default one first."""
    driver: AptRepository | None
    """Where AMD's driver, and libraries of old releases, come from; None where neither is asked."""
    headers: tuple[str, ...]


@deploy("rocm")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Ask the catalog, and refuse before the first change; then install, configure and start."""
    has: Accelerators = host.get_fact(Gpus)
    catalog = current()
    chosen = _chosen(settings, node, has, distribution, catalog)
    stack = _stack(settings, chosen, catalog, choice.headers(settings, node, has, catalog))
    live: LiveDriver = host.get_fact(Live, options=",".join(settings.options))
    if live.blacklisted:
        raise DeployError(
            f"{host.name}: rocm: modprobe is told to blacklist amdgpu; find the line with "
            "grep -r 'blacklist amdgpu' /etc/modprobe.d /usr/lib/modprobe.d, and remove it"
        )
    written = _options(settings)
    driver = _installed(settings, stack, has)
    initramfs.built(name="Build the initramfs anew", tool=distribution.initramfs, after=written)
    _users(settings)
    _partitions(settings, stack, live)
    _reboot(settings, live, driver)


def _chosen(
    settings: Settings,
    node: NodeFacts,
    has: Accelerators,
    distribution: Distribution,
    catalog: Catalog,
) -> tuple[StackChoice, ...]:
    """Return what is installed; raises DeployError for what cannot work, or is not done here."""
    answer = choice.answered(settings, node, has, catalog, date.today())
    if isinstance(answer, Refusal):
        raise DeployError(f"{host.name}: rocm: {choice.refusal(answer)}")
    if distribution.package_manager is not PackageManager.APT:
        raise DeployError(f"{host.name}: rocm: {distribution.title} has no apt")
    now: PackagesData = host.get_fact(AptPackages)
    if strange := choice.in_the_way(answer, now.installed, catalog):
        raise DeployError(
            f"{host.name}: rocm: {strange}; nothing here removes what another installer brought"
        )
    if older := choice.goes_back(settings, answer, now.installed):
        raise DeployError(f"{host.name}: rocm: {older}")
    return answer


def _stack(
    settings: Settings,
    chosen: Sequence[StackChoice],
    catalog: Catalog,
    headers: tuple[str, ...],
) -> _Stack:
    releases = tuple(release(settings, one, catalog) for one in chosen)
    driver = None
    if needs := needs_driver_repository(settings, chosen, catalog):
        driver = driver_repository(settings, chosen[0], catalog)
    unknown = [one.version for one in releases if one.repository is None]
    if unknown or (needs and driver is None):
        name = unknown[0] if unknown else "driver"
        raise DeployError(
            f"{host.name}: rocm: no fingerprint, or no address, of the key of {name} is known; "
            f"set key and key_uri in sources[{name!r}]"
        )
    return _Stack(releases, driver, headers if settings.driver == "dkms" else ())


def _options(settings: Settings) -> OperationMeta:
    """Write what modprobe is told; before the driver comes, because it may be loaded then."""
    if not settings.options:
        gone: OperationMeta = files.absent(
            name="Leave the module's options alone", path=MODPROBE, notify=initramfs.NOTE
        )
        return gone
    written: OperationMeta = files.template(
        name="Write the module's options",
        path=MODPROBE,
        source="rocm/modprobe.conf.j2",
        values={"options": sorted(settings.options.items())},
        notify=initramfs.NOTE,
    )
    return written


def _installed(settings: Settings, stack: _Stack, has: Accelerators) -> OperationMeta | None:
    """Add repositories and install; returns the operation that installs the driver, if any."""
    added, driver = [], None
    if stack.headers and (settings.image is not None or not has.kernel_headers):
        packages.present(
            name="Install the kernel's headers for amdgpu",
            manager=PackageManager.APT,
            packages=stack.headers,
        )
    for place in filter(None, [stack.driver, *(one.repository for one in stack.releases)]):
        added.append(repositories.apt(name=f"Add AMD's repository {place}", repository=place))
    if stack.driver is not None and settings.driver == "dkms":
        driver = stacks.supplied(
            name="Install AMD's driver",
            wanted=dict.fromkeys(DRIVER_PACKAGES, stack.driver.uris[0]),
            downgrade=settings.downgrade,
            after=added,
        )
    _releases(settings, stack, added)
    return driver


def _releases(settings: Settings, stack: _Stack, added: Sequence[OperationMeta]) -> None:
    places = ((one.packages, one.repository) for one in stack.releases if one.repository)
    wanted = {name: place.uris[0] for names, place in places for name in names}
    done = stacks.supplied(
        name="Install ROCm",
        wanted=wanted,
        without=[INSECURE, *(DRIVER_PACKAGES if settings.driver == "kernel" else ())],
        after=added,
    )
    drives = stack.driver is not None and settings.driver == "dkms"
    driver = dict.fromkeys(DRIVER_PACKAGES, stack.driver.uris[0]) if stack.driver and drives else {}
    stacks.guarded(
        name="Guard AMD's driver and ROCm",
        manager=PackageManager.APT,
        guard="rocm",
        supplied=wanted | driver,
        modules=["amdgpu"] if drives else [],
    )
    operations.default_release(
        name="Make the first release the default",
        prefix=stack.releases[0].prefix,
        several=len(stack.releases) > 1,
        after=[done],
    )


def _users(settings: Settings) -> None:
    if settings.users is None:
        return
    for group in GROUPS:
        users.group(name=f"Make the group {group}", group=group)
        users.members(
            name=f"Let only these users be in {group}", group=group, members=settings.users
        )


def _partitions(settings: Settings, stack: _Stack, live: LiveDriver) -> None:
    path, asked = f"{UNITS}/{UNIT}", settings.partitions
    if not asked:
        operations.undivided(name="Leave the GPUs as they are divided", unit=UNIT)
        files.absent(name="Remove what divided the GPUs at boot", path=path)
        return
    written = files.template(
        name="Write what divides the GPUs at boot",
        path=path,
        source="rocm/nodeproof-rocm.service.j2",
        values={
            "compute": asked.get("compute"),
            "memory": asked.get("memory"),
            "amd_smi": stack.releases[0].amd_smi,
        },
        notify=UNIT,
    )
    operations.divided(
        name="Divide the GPUs",
        unit=UNIT,
        wanted=asked,
        options=list(settings.options),
        start=settings.image is None and live.loaded and not live.stale,
        after=written,
    )


def _reboot(settings: Settings, live: LiveDriver, driver: OperationMeta | None) -> None:
    """Note what only a boot brings about."""
    why = []
    if live.stale:
        why.append("another amdgpu module is loaded than the one on the disk")
    elif any(option_is(live.params, *one) is False for one in settings.options.items()):
        why.append("the options of the amdgpu module changed")
    if settings.image is None:
        system.needs_reboot(
            name="Note why the node needs a reboot for amdgpu",
            topic="rocm",
            reason="; ".join(why) or "AMD's driver was installed",
            after=[] if driver is None else [driver],
            still=bool(why),
        )
