"""Make a Jetson be as asked: JetPack's packages, power mode, clocks; never a driver."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError

from nodeproof.catalog.distributions import Distribution
from nodeproof.catalog.overlay import current
from nodeproof.errors import UsageError
from nodeproof.facts.accelerators import Accelerators
from nodeproof.layers.gpu import jetpack, operations
from nodeproof.layers.gpu.jetson import Jetson, JetsonData
from nodeproof.layers.gpu.settings import CLOCKS_UNIT, Settings
from nodeproof.layers.gpu.settings import Jetson as Asked
from nodeproof.operations import files, repositories, stacks

UNIT_FILE = f"/etc/systemd/system/{CLOCKS_UNIT}"


def deploy_jetson(settings: Settings, has: Accelerators, distribution: Distribution) -> None:
    """Refuse before the first change; raises DeployError."""
    asked = settings.jetson or Asked()
    if has.platform != "jetson":
        return
    now: JetsonData = host.get_fact(Jetson)
    if wrong := why_not(asked, now):
        raise DeployError(f"{host.name}: gpu: jetson.{wrong}")
    if asked.packages != "none":
        _packages(settings, asked, has, distribution)
    if asked.power_mode is not None:
        operations.power_mode(name="Set the power mode", mode=asked.power_mode, unit=CLOCKS_UNIT)
    _clocks(asked)


def why_not(asked: Asked, now: JetsonData) -> str:
    """Return what is asked and cannot be set; empty where all can."""
    if asked.power_mode is not None:
        if not now.power_mode or now.mode_id is None:
            return "power_mode: nvpmodel -q names no mode"
        if asked.power_mode not in now.modes:
            known = ", ".join(now.modes) or "none"
            return f"power_mode: there is no {asked.power_mode} in /etc/nvpmodel.conf, but {known}"
    if asked.highest_clocks and "GPU" not in now.clocks:
        return "highest_clocks: jetson_clocks --show names no clock of the GPU"
    return ""


def _packages(
    settings: Settings, asked: Asked, has: Accelerators, distribution: Distribution
) -> None:
    sources: jetpack.SourcesData = host.get_fact(jetpack.JetsonSources)
    try:
        wanted = jetpack.stack(asked, jetpack.release(asked, has.l4t, current()))
        repository = jetpack.repository(settings, has.l4t, sources, current())
    except UsageError as error:
        raise DeployError(f"{host.name}: gpu: jetson.packages: {error.message}") from error
    manager = distribution.package_manager
    added = repositories.apt(
        name="Pin the key of the Jetson repositories", repository=repository, adopt=True
    )
    newer = stacks.lists(
        name="Fetch newer package lists for JetPack", manager=manager, stack=wanted, after=[added]
    )
    stacks.installed(name="Install JetPack", manager=manager, stack=wanted, after=[added, newer])


def _clocks(asked: Asked) -> None:
    if not asked.highest_clocks:
        operations.service(
            name="Let the clocks go up and down", unit=CLOCKS_UNIT, start=False, enabled=False
        )
        files.absent(name="Remove what held the clocks up", path=UNIT_FILE)
        return
    written = files.template(
        name="Write what holds the clocks up",
        path=UNIT_FILE,
        source="gpu/nodeproof-jetson-clocks.service.j2",
        values={},
        notify=CLOCKS_UNIT,
    )
    operations.clocks_held(name="Hold the clocks up", unit=CLOCKS_UNIT, after=written)
