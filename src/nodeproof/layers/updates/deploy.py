"""Have security updates come by themselves, and none that breaks the GPU stack."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError, deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.files import FileState, FileStateData
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.updates import operations, policy
from nodeproof.layers.updates.services import as_pattern, kept_running
from nodeproof.layers.updates.settings import Settings
from nodeproof.operations import files, packages, systemd, update_guard
from nodeproof.updates.guard import PROGRAM

DROPINS = "/etc/systemd/system/{unit}.d/nodeproof.conf"
RESTARTS = "/etc/needrestart/conf.d/90-nodeproof.conf"


@deploy("updates")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Say what comes and what does not, guard kernels, then let the timers run."""
    _has_its_hook(settings)
    operations.unattended(
        name="Say what comes unattended",
        settings=settings,
        origins=distribution.features["security_origins"],
    )
    update_guard.guarded(
        name="Guard what DKMS has built",
        manager=distribution.package_manager,
        guard=policy.GUARD,
    )
    packages.present(
        name="Install unattended-upgrades and needrestart",
        manager=distribution.package_manager,
        packages=distribution.packages["updates"],
    )
    files.template(
        name="Keep services that carry work running",
        path=RESTARTS,
        source="updates/needrestart.conf.j2",
        values={
            "patterns": [
                as_pattern(name) for name in kept_running(settings.roles, settings.keep_running)
            ]
        },
    )
    _times(settings)
    operations.noted(name="Note which updates are open")


def _has_its_hook(settings: Settings) -> None:
    """Refuse a hook that is not there, or that others than root may write."""
    if settings.drain_hook is None:
        return
    now: FileStateData | None = host.get_fact(FileState, path=settings.drain_hook)
    safe = now is not None and now.kind in ("file", "large") and now.user == "root"
    if now is None or not safe or int(now.mode, 8) & 0o022 or not int(now.mode, 8) & 0o100:
        raise DeployError(
            f"{host.name}: updates.drain_hook: {settings.drain_hook} is no program that root alone "
            "may write; put it there first"
        )


def _times(settings: Settings) -> None:
    lists, upgrades = f"{policy.LISTS}.service", f"{policy.UPGRADES}.service"
    operations.configured(
        name="Note what is open when package lists come",
        unit=lists,
        path=DROPINS.format(unit=lists),
        text=_after([f"{PROGRAM} pending"]),
    )
    operations.configured(
        name="Set what follows an upgrade",
        unit=upgrades,
        path=DROPINS.format(unit=upgrades),
        text=_after(policy.afterwards(settings)),
    )
    timer = f"{policy.UPGRADES}.timer"
    operations.configured(
        name="Set when updates are installed",
        unit=timer,
        path=DROPINS.format(unit=timer),
        text=_window(settings.window) if settings.window else None,
    )
    systemd.unit(name="Fetch package lists every day", unit=f"{policy.LISTS}.timer")
    installs = policy.runs(settings)
    systemd.unit(
        name="Have updates installed as asked", unit=timer, running=installs, enabled=installs
    )


def _after(commands: list[str]) -> str:
    return files.render("updates/afterwards.service.j2", commands=commands)


def _window(window: str) -> str:
    begins, minutes = policy.calendar(window)
    delay = max(1, minutes // 2)
    return files.render("updates/apt-daily-upgrade.timer.j2", begins=begins, delay_min=delay)
