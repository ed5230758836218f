"""Set kernel parameters, deny modules, limit sessions and services, keep no core dumps."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError, deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.catalog.hardening.decide import values
from nodeproof.catalog.hardening.model import parameters
from nodeproof.facts.modules import Loaded, LoadedModules
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.sysctl import Assignment, Sysctl, SysctlFiles, overriding
from nodeproof.layers.kernel import settings as asked
from nodeproof.layers.kernel.facts import Needed, Traffic
from nodeproof.layers.kernel.limits import for_services, for_sessions
from nodeproof.layers.kernel.settings import Settings
from nodeproof.operations import files, modules, sysctl, systemd

SYSCTL = "/etc/sysctl.d/zz-nodeproof.conf"
MODPROBE = "/etc/modprobe.d/nodeproof-kernel.conf"
LIMITS = "/etc/security/limits.d/zz-nodeproof.conf"
MANAGER = "/etc/systemd/system.conf.d/zz-nodeproof.conf"
COREDUMP = "/etc/systemd/coredump.conf.d/zz-nodeproof.conf"
AGAIN = "sysctl-reapply-network.service"


@deploy("kernel")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Refuse what would stop the node's work, then set one thing after the other."""
    wanted = _parameters(settings)
    _keep_traffic(wanted)
    _keep_the_last_word(wanted)
    if not node.is_container:  # its host's modules
        _keep_modules_in_use(settings)
    _kernel_parameters(wanted, node)
    _modules(settings, node)
    _limits(settings)
    _core_dumps(settings)


def _parameters(settings: Settings) -> dict[str, str]:
    """Return what is set, without what this kernel does not have."""
    needs = sorted(set().union(*(one.needs for one in parameters("sysctl"))))
    there = host.get_fact(Sysctl, keys=",".join(needs))
    decided = (
        one for one in asked.kernel_parameters(settings) if one.parameter.needs <= there.keys()
    )
    ours = values(decided) | asked.own_parameters(settings)
    return {key: str(value) for key, value in ours.items()}


def _keep_traffic(wanted: dict[str, str]) -> None:
    needed: Traffic = host.get_fact(Needed)
    if needed.forwarding and needed.forwards and wanted.get("net.ipv4.ip_forward") == "0":
        raise DeployError(
            f"{host.name}: kernel: {', '.join(needed.forwards)} would be cut off, as the node is "
            "to forward nothing; say what it is for, roles = ['containers'] or ['kubernetes'], or "
            "choose kernel.sysctl = {'net.ipv4.ip_forward': 1}"
        )
    accepts = [key for key in wanted if key.endswith(".accept_ra") and wanted[key] == "0"]
    if needed.advertised and accepts:
        chosen = ", ".join(f"'{key}': 'leave'" for key in accepts)
        raise DeployError(
            f"{host.name}: kernel: the IPv6 default route of {', '.join(needed.advertised)} comes "
            f"from a router, and would be gone after the next boot; choose kernel.sysctl = "
            f"{{{chosen}}}, or give the node a static route"
        )


def _keep_the_last_word(wanted: dict[str, str]) -> None:
    found: list[Assignment] = host.get_fact(SysctlFiles)
    for one in overriding(found, SYSCTL, wanted):
        raise DeployError(
            f"{host.name}: kernel: {one.file}, line {one.line}, sets {one.key} = {one.value} and "
            f"wins over {SYSCTL}; remove the line, or choose that value in kernel.sysctl"
        )


def _keep_modules_in_use(settings: Settings) -> None:
    names = asked.denied(settings)
    loaded: dict[str, Loaded] = host.get_fact(LoadedModules, modules=",".join(names))
    for name, found in loaded.items():
        if found.users:
            by = f" by {', '.join(found.by)}" if found.by else ""
            raise DeployError(
                f"{host.name}: kernel: {name} is denied and in use{by}; say what the node is for "
                "(roles), name it in kernel.allow_modules, or stop what uses it"
            )


def _kernel_parameters(wanted: dict[str, str], node: NodeFacts) -> None:
    if not wanted:
        files.absent(name="Write no kernel parameters", path=SYSCTL)
        return
    also = {one.key: [str(value) for value in one.also] for one in parameters("sysctl")}
    sysctl.live(
        name="Set the kernel parameters",
        path=SYSCTL,
        values=wanted,
        also=also,
        hosted=node.is_container,
    )
    files.template(
        name="Write the kernel parameters",
        path=SYSCTL,
        source="kernel/sysctl.conf.j2",
        values={"values": wanted},
    )
    if node.is_container:  # its host sets them
        return
    again = files.template(
        name="Write what sets the kernel parameters again",
        path=f"/etc/systemd/system/{AGAIN}",
        source="kernel/sysctl-reapply-network.service.j2",
        values={"path": SYSCTL},
        notify=AGAIN,
    )
    systemd.unit(name="Set the kernel parameters again at boot", unit=AGAIN)
    systemd.told(name="Read what sets them again", unit=AGAIN, after=[again], how="read")


def _modules(settings: Settings, node: NodeFacts) -> None:
    names = asked.denied(settings)
    if not names:
        files.absent(name="Deny no kernel modules", path=MODPROBE)
        return
    if not node.is_container:
        # Before they are denied: taken back last, when they may be loaded again.
        modules.unloaded(name="Unload denied kernel modules", modules=names)
    files.directory(name="Make modprobe's directory", path="/etc/modprobe.d", keep=True)
    files.template(
        name="Deny kernel modules",
        path=MODPROBE,
        source="kernel/modprobe.conf.j2",
        values={"denied": names},
    )


def _limits(settings: Settings) -> None:
    limits = values(asked.limits(settings))
    if not limits:
        files.absent(name="Limit no sessions", path=LIMITS)
        files.absent(name="Limit no services", path=MANAGER)
        return
    files.template(
        name="Limit sessions",
        path=LIMITS,
        source="kernel/limits.conf.j2",
        values={"limits": for_sessions(limits)},
    )
    files.directory(name="Make systemd's directory", path=MANAGER.rpartition("/")[0], keep=True)
    services = for_services(limits)
    systemd.manager(
        name="Limit services",
        path=MANAGER,
        text=files.render("kernel/system.conf.j2", values=services.written),
        values=services.shown,
    )


def _core_dumps(settings: Settings) -> None:
    kept = values(asked.core_dumps(settings))
    if not kept:
        files.absent(name="Leave core dumps alone", path=COREDUMP)
        return
    folder = COREDUMP.rpartition("/")[0]
    files.directory(name="Make systemd-coredump's directory", path=folder, keep=True)
    files.template(
        name="Keep no core dumps",
        path=COREDUMP,
        source="kernel/coredump.conf.j2",
        values={"values": kept},
    )
