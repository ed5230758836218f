"""Make the system what the settings say."""

from __future__ import annotations

from pyinfra.api import deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.system.settings import OtherAdmins, Settings, Sudo
from nodeproof.operations import files, packages, system, systemd, users

SOURCES = "/etc/chrony/sources.d/nodeproof.sources"


@deploy("system")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Install packages, set the clock and the name, then accounts and administrators."""
    wanted = [
        *distribution.packages["accounts"],
        *distribution.packages["time"],
        *settings.packages,
    ]
    packages.present(name="Install packages", manager=distribution.package_manager, packages=wanted)
    system.timezone(name="Set the time zone", zone=settings.timezone)
    if settings.hostname is not None:
        system.hostname(name="Set the host name", hostname=settings.hostname)
    if not node.is_container:  # a container has its host's clock
        _time(settings, distribution)
    for name, user in settings.users.items():
        if not user.present:
            users.absent(name=f"Remove the account {name}", account=name)
            continue
        admin = [distribution.admin_group] if user.sudo is not Sudo.NO else []
        users.account(
            name=f"Make the account {name}",
            account=name,
            shell=user.shell,
            groups=[*admin, *user.groups],
        )
        users.authorized_keys(name=f"Set the SSH keys of {name}", account=name, keys=user.keys)
    _administrators(settings, node, distribution)


def _time(settings: Settings, distribution: Distribution) -> None:
    unit = distribution.units["time"]
    sources = (
        files.template(
            name="Write the time servers",
            path=SOURCES,
            source="system/chrony.sources.j2",
            values={"servers": settings.ntp_servers},
            notify=unit,
        )
        if settings.ntp_servers
        else files.absent(name="Use the distribution's time servers", path=SOURCES, notify=unit)
    )
    systemd.unit(name="Start the time service", unit=unit)
    systemd.told(name="Restart the time service", unit=unit, after=[sources])


def _administrators(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    for name, user in settings.users.items():
        path = f"/etc/sudoers.d/nodeproof-{name}"
        if user.present and user.sudo is Sudo.PASSWORDLESS:
            files.template(
                name=f"Let {name} become root",
                path=path,
                source="system/sudoers.j2",
                values={"user": name},
                mode="440",
                validate=["visudo", "-cf", "%s"],
            )
        else:
            files.absent(name=f"Remove the sudo rule of {name}", path=path)
    if settings.other_admins is OtherAdmins.REMOVE:
        users.administrators(
            name="Keep everybody else out of sudo",
            admins=admins(settings, node.login_user),
            group=distribution.admin_group,
        )


def admins(settings: Settings, login_user: str) -> list[str]:
    """Return who may become root: the users asked for, and whoever connects."""
    asked = [
        name for name, user in settings.users.items() if user.present and user.sudo is not Sudo.NO
    ]
    return sorted({*asked, login_user})
