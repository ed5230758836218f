"""Make a node drive its GPUs: one driver, and what belongs to it in exactly its version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from pyinfra import host
from pyinfra.api import DeployError, deploy
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import Distribution
from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.choice import Choice, Refusal
from nodeproof.catalog.resolve.machine import of_node
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.gpu import operations
from nodeproof.layers.gpu.confidential import CRYPTO, KEEPS, Confidential, ConfidentialData
from nodeproof.layers.gpu.facts import DAEMON, DROPIN, READY, UNITS, Live, LiveDriver, option_is
from nodeproof.layers.gpu.imex import NODES
from nodeproof.layers.gpu.imex import UNIT as IMEX
from nodeproof.layers.gpu.jetson_deploy import deploy_jetson
from nodeproof.layers.gpu.refusals import not_here, why_not
from nodeproof.layers.gpu.settings import DIVIDER, UNIT, Imex, Settings
from nodeproof.layers.gpu.stack import stack
from nodeproof.layers.gpu.wanted import wanted_commands, wanted_values
from nodeproof.operations import files, initramfs, packages, repositories, stacks, system, systemd
from nodeproof.repositories import nvidia
from nodeproof.repositories.spec import AptRepository, DnfRepository

MODPROBE = "/etc/modprobe.d/nodeproof-gpu.conf"
MODULES = "/etc/modules-load.d/nodeproof-gpu.conf"
OURS = ("vendor-repository",)


@dataclass(frozen=True)
class _Node:
    """What is on the node, and what of it can be used now."""

    has: Accelerators
    live: LiveDriver
    old: bool
    """Whether another driver is loaded, so that this one comes with a reboot."""
    unsigned: bool
    """Whether it loads only when somebody has enrolled the key that signs it."""
    runs: bool
    """Whether its GPUs can be used when the packages are there."""


@deploy("gpu")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Ask the catalog, and refuse before the first change; then install, configure and start."""
    has: Accelerators = host.get_fact(Gpus)
    if wrong := not_here(settings, has):
        raise DeployError(f"{host.name}: gpu: {wrong}")
    if settings.driver == "none":
        deploy_jetson(settings, has, distribution)
        return
    chosen = _chosen(settings, node, has)
    live: LiveDriver = host.get_fact(Live, modules=",".join(settings.modules_at_boot))
    version = chosen.driver.version if chosen.driver else ""
    here = settings.image is None
    old = here and (has.nouveau_loaded or live.loaded not in ("", version))
    unsigned = bool(has.secure_boot) and settings.secure_boot == "mok" and not live.loaded
    it = _Node(has, live, old, unsigned, here and not (old or unsigned))
    if wrong := why_not(settings, chosen, has.platform, asks_gpus=it.runs and bool(live.loaded)):
        raise DeployError(f"{host.name}: gpu: {wrong}")
    written = _modules(settings)
    if settings.confidential is not None or live.confidential:
        _daemon(settings)
    _packages(settings, chosen, it, distribution)
    initramfs.built(name="Build the initramfs anew", tool=distribution.initramfs, after=written)
    _reboot(settings, it, version)
    _services(settings, chosen, it)
    _gpus(settings, it)


def _chosen(settings: Settings, node: NodeFacts, has: Accelerators) -> Choice:
    """Return what is installed; raises DeployError for what cannot work, or is not done here."""
    answer = resolve(settings.asked, of_node(node, has), current(), date.today())
    if isinstance(answer, Refusal):
        raise DeployError(f"{host.name}: gpu: {in_one_line(answer)}")
    present = has.driver
    kept = answer.driver is not None and answer.driver.origin == "kept"
    if present and not kept and present.origin not in OURS:
        raise DeployError(
            f"{host.name}: gpu: driver {present.version} ({present.origin}) has to go first: "
            f"{'; '.join(answer.steps) or 'remove it'}; nothing here removes what another "
            "installer brought"
        )
    return answer


def _packages(settings: Settings, chosen: Choice, it: _Node, distribution: Distribution) -> None:
    asked, driver = stack(chosen), chosen.driver
    if driver is None or not asked.wanted:
        return
    manager = distribution.package_manager
    if needed := (*driver.prerequisites, *distribution.packages.get("hold", ())):
        packages.present(
            name="Install what the driver needs of other repositories",
            manager=manager,
            packages=needed,
            where="the distribution's own and EPEL",
        )
    if driver.headers and (settings.image is not None or not it.has.kernel_headers):
        packages.present(
            name="Install the kernel's headers", manager=manager, packages=driver.headers
        )
    after = [
        repositories.added(
            name="Add the driver's repository", repository=_repository(settings, chosen)
        )
    ]
    if driver.stream:
        module, stream = driver.stream
        after.append(repositories.module(name="Choose the branch", module=module, stream=stream))
    after.append(
        stacks.lists(name="Fetch newer package lists", manager=manager, stack=asked, after=after)
    )
    stacks.installed(
        name="Install the driver with all that belongs to it",
        manager=manager,
        stack=asked,
        replace=settings.installed == "replace",
        after=after,
    )


def _repository(settings: Settings, chosen: Choice) -> AptRepository | DnfRepository:
    place = chosen.driver.place if chosen.driver else None
    found = nvidia.repository(settings.asked, place, current()) if place else None
    if found is None:
        raise DeployError(
            f"{host.name}: gpu: no fingerprint, or no address, of the repository's key is known; "
            "set repository_key and repository_key_uri"
        )
    return found


def _modules(settings: Settings) -> OperationMeta:
    """Write what modprobe is told; before the driver comes, because it is loaded then."""
    written: OperationMeta = files.template(
        name="Write the driver's module options",
        path=MODPROBE,
        source="gpu/modprobe.conf.j2",
        values={
            "options": sorted(settings.options.items()),
            "nouveau_off": settings.nouveau == "off",
            "before": CRYPTO if settings.confidential is not None else "",
        },
        notify=initramfs.NOTE,
    )
    if settings.modules_at_boot:
        files.template(
            name="Load modules at boot",
            path=MODULES,
            source="gpu/modules.conf.j2",
            values={"modules": settings.modules_at_boot},
        )
    else:
        files.absent(name="Load no modules at boot", path=MODULES)
    return written


def _daemon(settings: Settings) -> None:
    """Say how the persistence daemon runs; before it comes, because it is started then."""
    if settings.confidential is None:
        dropin = files.absent(
            name="Let the persistence daemon run as usual", path=DROPIN, notify=DAEMON
        )
    else:
        files.directory(
            name="Make the persistence daemon's folder", path=DROPIN.rpartition("/")[0], keep=True
        )
        dropin = files.template(
            name="Have the persistence daemon keep its session",
            path=DROPIN,
            source="gpu/persistenced.conf.j2",
            values={"keeps": KEEPS},
            notify=DAEMON,
        )
    systemd.told(name="Read how the daemon runs", unit=DAEMON, after=[dropin], how="read")


def _reboot(settings: Settings, it: _Node, version: str) -> None:
    """Note what only a boot brings about."""
    why = []
    if it.has.nouveau_loaded:
        why.append(f"nouveau is loaded and gives way to driver {version}")
    elif it.old:
        why.append(f"driver {it.live.loaded} is loaded and gives way to {version}")
    elif it.unsigned:
        why.append("the key that signs the driver's modules has to be enrolled at the console")
    elif it.runs and it.live.loaded:
        options = settings.options.items()
        if any(option_is(it.live.params, name, value) is False for name, value in options):
            why.append("the options of the nvidia module changed")
        on = {True: "Enabled", False: "Disabled", None: ""}[settings.ecc]
        if on and any(gpu.ecc != on for gpu in it.live.gpus):
            why.append("ECC changes with the next reset of the GPUs")
        if settings.mig is not None and any(gpu.mig_pending for gpu in it.live.gpus):
            why.append("MIG changes with the next reset of the GPUs")
        if settings.confidential is not None:
            confidential: ConfidentialData = host.get_fact(Confidential)
            if confidential.daemon and not confidential.kept:
                why.append("the persistence daemon keeps its session from the next boot on")
    system.needs_reboot(
        name="Note why the node needs a reboot",
        topic="gpu",
        reason="; ".join(why) or "nothing",
        still=bool(why) and settings.image is None,
    )


def _services(settings: Settings, chosen: Choice, it: _Node) -> None:
    operations.service(
        name="Run the persistence daemon",
        unit=DAEMON,
        start=it.runs,
        enabled=settings.persistence,
    )
    beside = {one.id for one in chosen.companions}
    if "fabric-manager" in beside:
        operations.service(
            name="Run the fabric manager", unit="nvidia-fabricmanager.service", start=it.runs
        )
    if "dcgm" in beside:
        operations.service(name="Run DCGM", unit="nvidia-dcgm.service", start=it.runs)
    if settings.imex is not None:
        _imex(settings.imex, it)
    if settings.confidential is not None or it.live.confidential:
        _ready(settings, it)
    if it.runs and settings.modules_at_boot:
        operations.loaded(name="Load modules now", modules=settings.modules_at_boot)


def _imex(imex: Imex, it: _Node) -> None:
    nodes = files.content(
        name="Write the nodes of the IMEX domain",
        path=NODES,
        text="".join(f"{one}\n" for one in imex.nodes),
        notify=IMEX,
    )
    systemd.told(name="Restart IMEX", unit=IMEX, after=[nodes], how="try-restart")
    operations.service(name="Run IMEX", unit=IMEX, start=it.runs)


def _ready(settings: Settings, it: _Node) -> None:
    attested_by = settings.confidential.attested_by if settings.confidential else None
    path = f"{UNITS}/{READY}"
    if attested_by is None:
        operations.service(
            name="Leave it to others when GPUs take work", unit=READY, start=False, enabled=False
        )
        files.absent(name="Remove what lets GPUs take work", path=path)
        return
    written = files.template(
        name="Write what lets attested GPUs take work",
        path=path,
        source="gpu/nodeproof-gpu-ready.service.j2",
        values={"attested_by": attested_by},
        notify=READY,
    )
    systemd.told(name="Read when GPUs take work", unit=READY, after=[written], how="read")
    operations.service(name="Let attested GPUs take work", unit=READY, start=it.runs)


def _gpus(settings: Settings, it: _Node) -> None:
    path = f"{UNITS}/{UNIT}"
    if not settings.sets_gpus:
        operations.service(
            name="Leave the GPUs' settings alone", unit=UNIT, start=False, enabled=False
        )
        files.absent(name="Remove what set the GPUs at boot", path=path)
        files.absent(name="Remove what divided the GPUs", path=DIVIDER)
        return
    if settings.mig is None:
        files.absent(name="Remove what divided the GPUs", path=DIVIDER)
    else:
        files.template(
            name="Write what divides the GPUs",
            path=DIVIDER,
            source="gpu/nodeproof-mig.j2",
            values={
                "asked": " ".join(sorted(settings.instances)),
                "profiles": ",".join(settings.instances),
            },
            mode="755",
            notify=UNIT,
        )
    written = files.template(
        name="Write what sets the GPUs at boot",
        path=path,
        source="gpu/nodeproof-gpu.service.j2",
        values={
            "divider": DIVIDER if settings.mig is not None else "",
            "commands": wanted_commands(settings),
        },
        notify=UNIT,
    )
    operations.gpus_set(
        name="Set the GPUs",
        unit=UNIT,
        wanted=wanted_values(settings),
        locked=settings.locked,
        modules=settings.modules_at_boot,
        start=it.runs,
        after=written,
    )
