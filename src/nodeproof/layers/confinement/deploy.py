"""Make the kernel confine workloads."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError, deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.confinement.settings import PROFILE, Settings
from nodeproof.operations import apparmor, files, packages, systemd, users

FOLDER = "/etc/apparmor.d"
PATH = f"{FOLDER}/{PROFILE}"


@deploy("confinement")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Make the directories, write the profile, load it, and keep it loaded at boot."""
    if not node.apparmor:
        raise DeployError(
            f"{host.name}: confinement: AppArmor is off in its kernel, {node.kernel}; boot with "
            "apparmor=1 security=apparmor, or leave the layer out (containers share the host's)"
        )
    packages.present(
        name="Install AppArmor",
        manager=distribution.package_manager,
        packages=distribution.packages["apparmor"],
    )
    systemd.unit(name="Load profiles at boot", unit=distribution.units["apparmor"])
    _directories(settings)
    _profile(settings, distribution)


def _directories(settings: Settings) -> None:
    users.group(name="Make the group of the workloads", group=settings.group)
    for path in settings.model_dirs:
        files.directory(name=f"Make the model directory {path}", path=path, keep=True)
    for path in settings.scratch_dirs:
        files.directory(
            name=f"Make the scratch directory {path}", path=path, mode="1770", group=settings.group
        )


def _profile(settings: Settings, distribution: Distribution) -> None:
    for link in ("disable", "force-complain"):
        files.absent(name=f"Remove the {link} link", path=f"{FOLDER}/{link}/{PROFILE}")
    written = files.template(
        name="Write the workloads' profile",
        path=PATH,
        source=f"confinement/{PROFILE}.j2",
        values={"settings": settings, "abi": distribution.features["apparmor_abi"]},
        validate=["apparmor_parser", "-Q", "-K", "%s"],
    )
    apparmor.loaded(
        name="Load the workloads' profile",
        profile=PROFILE,
        path=PATH,
        mode=settings.mode.value,
        after=written,
    )
