"""Harden the OpenSSH server without cutting off who is connected."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError, deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.ssh import SshAlgorithms
from nodeproof.facts.users import Accounts, AuthorizedKeys
from nodeproof.layers.ssh.facts import Unread
from nodeproof.layers.ssh.operations import decides, tight
from nodeproof.layers.ssh.settings import Settings
from nodeproof.operations import files, packages, systemd

DROPIN = "/etc/ssh/sshd_config.d/10-nodeproof.conf"


@deploy("ssh")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Install the server, write the drop-in, reload only when it changed."""
    _keep_a_way_in(settings, node)
    packages.present(
        name="Install the OpenSSH server",
        manager=distribution.package_manager,
        packages=distribution.packages["ssh"],
    )
    unit = distribution.units["ssh"]
    text = files.render("ssh/sshd.conf.j2", settings=settings, algorithms=_known(settings))
    dropin = files.content(
        name="Write the sshd drop-in",
        path=DROPIN,
        text=text,
        mode="600",
        validate=["/usr/sbin/sshd", "-t", "-f", "%s"],
        notify=unit,
    )
    sole = decides(name="Let the drop-in decide", path=DROPIN, text=text, notify=unit)
    tight(name="Keep sshd's files to root")
    systemd.unit(name="Start the OpenSSH server", unit=unit)
    systemd.told(
        name="Reload the OpenSSH server",
        unit=unit,
        after=[dropin, sole],
        how="reload",
        stale=bool(host.get_fact(Unread)),
    )


def _known(settings: Settings) -> dict[str, list[str]]:
    """Leave out algorithms that this OpenSSH does not know; sshd refuses to start with them."""
    known: dict[str, frozenset[str]] = host.get_fact(SshAlgorithms)
    asked = {"cipher": settings.ciphers, "mac": settings.macs, "kex": settings.key_exchange}
    usable = {
        kind: [name for name in names if not known or name in known.get(kind, frozenset())]
        for kind, names in asked.items()
    }
    for kind, names in usable.items():
        if not names:
            raise DeployError(
                f"{host.name}: ssh: its OpenSSH knows none of the {kind} algorithms asked for: "
                f"{', '.join(asked[kind])}"
            )
    return usable


def _keep_a_way_in(settings: Settings, node: NodeFacts) -> None:
    """Refuse settings under which the user we connect as could not come back."""
    user = node.login_user
    if user == "root" and settings.root_login.value == "no" and _over_ssh():
        raise DeployError(
            f"{host.name}: ssh.root_login is no, but root is who connects; connect as another "
            "user with sudo, or set root_login to prohibit-password"
        )
    if settings.allow_users and user not in settings.allow_users and _over_ssh():
        raise DeployError(f"{host.name}: ssh.allow_users leaves out {user}, who connects; add it")
    if settings.allow_groups and _over_ssh():
        account = host.get_fact(Accounts).users.get(user)
        groups = {account.group, *account.groups} if account else set()
        if not groups & set(settings.allow_groups):
            raise DeployError(
                f"{host.name}: ssh.allow_groups leaves out {user}, who connects and is in "
                f"{', '.join(sorted(groups))}; add one of these"
            )
    if (
        not settings.password_login
        and host.data.get("ssh_password")
        and not host.get_fact(AuthorizedKeys, account=user)
    ):
        raise DeployError(
            f"{host.name}: ssh.password_login is false, but {user} connects with a password and "
            "has no key there; give the user a key first (system.users)"
        )


def _over_ssh() -> bool:
    return not host.name.startswith("@local")
