"""Make the system what the settings say."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError, deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.system.facts import LoginKeys, bare_key
from nodeproof.layers.system.settings import OtherAdmins, Settings, Sudo
from nodeproof.operations import files, packages, system, systemd, users

NO_LOGIN = ("/nologin", "/false")
SOURCES = "/etc/chrony/sources.d/nodeproof.sources"


@deploy("system")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Install packages, set the clock and the name, then accounts and administrators."""
    _keep_a_way_in(settings, node)
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
        if user.keys is not None:
            users.authorized_keys(name=f"Set the SSH keys of {name}", account=name, keys=user.keys)
    _administrators(settings, node, distribution)


def _keep_a_way_in(settings: Settings, node: NodeFacts) -> None:
    """Refuse settings under which the user we connect as could not come back."""
    user = settings.users.get(node.login_user)
    if user is None:
        return
    where = f"{host.name}: system.users.{node.login_user}"
    if not user.present:
        raise DeployError(f"{where}.present is false, but that is who connects")
    if user.shell.endswith(NO_LOGIN):
        raise DeployError(f"{where}.shell is {user.shell}, but that is who connects")
    now: frozenset[str] = host.get_fact(LoginKeys, account=node.login_user)
    if user.keys is not None and now and not now & {bare_key(key) for key in user.keys}:
        raise DeployError(
            f"{where}.keys has none of the keys that let this user in now, and that is who "
            "connects; add yours, or leave keys out to leave them alone"
        )


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
