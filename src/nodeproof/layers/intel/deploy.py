"""Make a node drive and use Intel's GPUs, or Gaudi: one release, from its own repository."""

from __future__ import annotations

from datetime import date

from pyinfra import host
from pyinfra.api import DeployError, deploy
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import Distribution, PackageManager
from nodeproof.catalog.model.stack import IntelRelease
from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.choice import Refusal, StackChoice
from nodeproof.catalog.resolve.release import machine_for
from nodeproof.catalog.whole import Catalog
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.facts.modules import KernelModule, LiveModule
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.intel import choice
from nodeproof.layers.intel.settings import GROUPS, Settings
from nodeproof.layers.intel.stack import packages as names
from nodeproof.layers.intel.stack import repository
from nodeproof.operations import packages, repositories, stacks, system, users
from nodeproof.repositories.spec import AptRepository


@deploy("intel")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Ask the catalog, and refuse before the first change; then install, and let users in."""
    has: Accelerators = host.get_fact(Gpus)
    catalog = current()
    chosen = _chosen(settings, node, has, distribution, catalog)
    release = catalog.intel_releases[chosen.version]
    place = _repository(settings, chosen, catalog)
    live: LiveModule = host.get_fact(KernelModule, module=release.module)
    if live.blacklisted:
        raise DeployError(
            f"{host.name}: intel: modprobe is told to blacklist {release.module}; find the line "
            f"with grep -r 'blacklist {release.module}' /etc/modprobe.d /usr/lib/modprobe.d, and "
            "remove it"
        )
    if settings.driver == "dkms":
        kernel = machine_for(settings.image, node, has).accelerators.kernel
        packages.present(
            name="Install what Intel's driver is built with",
            manager=PackageManager.APT,
            packages=[name.format(kernel=kernel) for name in release.needs],
        )
    done = _installed(settings, release, place)
    _users(settings)
    _reboot(settings, release, live, done)


def _chosen(
    settings: Settings,
    node: NodeFacts,
    has: Accelerators,
    distribution: Distribution,
    catalog: Catalog,
) -> StackChoice:
    """Return what is installed; raises DeployError for what cannot work, or is not done here."""
    answer = choice.answered(settings, node, has, catalog, date.today())
    if isinstance(answer, Refusal):
        raise DeployError(f"{host.name}: intel: {choice.refusal(answer)}")
    if distribution.package_manager is not PackageManager.APT:
        raise DeployError(f"{host.name}: intel: {distribution.title} has no apt")
    return answer


def _repository(settings: Settings, chosen: StackChoice, catalog: Catalog) -> AptRepository:
    found = repository(settings, chosen, catalog)
    if found is None:
        raise DeployError(
            f"{host.name}: intel: no fingerprint, or no address, of the repository's key is known; "
            "set repository_key and repository_key_uri"
        )
    return found


def _installed(settings: Settings, release: IntelRelease, place: AptRepository) -> OperationMeta:
    """Add the repository and install, all at once; without the driver where it is the kernel's."""
    added = repositories.apt(name=f"Add Intel's repository {place}", repository=place)
    done: OperationMeta = stacks.supplied(
        name="Install Intel's driver and software",
        wanted=dict.fromkeys(names(settings, release), place.uris[0]),
        version=release.build or "",
        without=release.driver if settings.driver == "kernel" else (),
        downgrade=settings.downgrade,
        after=[added],
    )
    stacks.guarded(
        name="Guard Intel's driver and software",
        manager=PackageManager.APT,
        guard="intel",
        supplied=dict.fromkeys(names(settings, release), place.uris[0]),
        version=release.build or "",
        modules=[release.dkms] if settings.driver == "dkms" else [],
    )
    return done


def _users(settings: Settings) -> None:
    if settings.users is None:
        return
    for group in GROUPS:
        users.group(name=f"Make the group {group}", group=group)
        users.members(
            name=f"Let only these users be in {group}", group=group, members=settings.users
        )


def _reboot(
    settings: Settings, release: IntelRelease, live: LiveModule, done: OperationMeta
) -> None:
    """Note what only a boot brings about."""
    if settings.image is None:
        stale = f"another {release.module} module is loaded than the one on the disk"
        system.needs_reboot(
            name="Note why the node needs a reboot for Intel's driver",
            topic="intel",
            reason=stale if live.stale else "Intel's driver and software were installed",
            after=[done] if settings.driver == "dkms" else [],
            still=live.stale,
        )
