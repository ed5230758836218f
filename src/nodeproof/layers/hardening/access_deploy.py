"""Sessions, sudo and su, schedules, and what a login is shown."""

from __future__ import annotations

from pyinfra import host

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.users import Accounts
from nodeproof.layers.hardening.operations import su_only
from nodeproof.layers.hardening.settings import Settings
from nodeproof.operations import files, keyed, packages, systemd, users


def sessions(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Set what login shells begin with; keep Ctrl-Alt-Del from rebooting the node."""
    files.template(
        name="Set the umask and the timeout of shells",
        path="/etc/profile.d/nodeproof-hardening.sh",
        source="hardening/profile.sh.j2",
        values={"settings": settings},
    )
    keyed.file(
        name="Set the umask of logins",
        path="/etc/login.defs",
        values={"UMASK": settings.sessions.umask},
        separator="\t",
    )
    systemd.masked(name="Ignore Ctrl-Alt-Del", unit="ctrl-alt-del.target")


def sudo(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Log what is done by sudo, and keep su to a group."""
    packages.present(
        name="Install what turns logs over",
        manager=distribution.package_manager,
        packages=distribution.packages["logrotate"],
    )
    files.template(
        name="Write sudo's drop-in",
        path="/etc/sudoers.d/nodeproof_hardening",
        source="hardening/sudoers.j2",
        values={"settings": settings},
        mode="440",
        validate=["visudo", "-cf", "%s"],
    )
    files.template(
        name="Turn sudo's log over",
        path="/etc/logrotate.d/nodeproof-sudo",
        source="hardening/logrotate.j2",
        values={"settings": settings},
    )
    users.group(name="Make the group of su", group=settings.sudo.su_group)
    users.members(
        name="Set who may use su", group=settings.sudo.su_group, members=settings.sudo.su_users
    )
    su_only(name="Let only the group use su", group=settings.sudo.su_group)


def schedules(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Let only those who are named have commands run later."""
    text = "".join(f"{name}\n" for name in sorted({"root", *settings.schedules.users}))
    groups = host.get_fact(Accounts).groups
    for program, group in (("cron", "crontab"), ("at", "daemon")):
        files.content(
            name=f"Say who may use {program}",
            path=f"/etc/{program}.allow",
            text=text,
            mode="640",
            group=group if group in groups else "root",  # the program reads it as that group
        )
        files.absent(name=f"Let no list forbid {program}", path=f"/etc/{program}.deny")
    files.permissions(name="Keep the crontab to root", path="/etc/crontab", mode="600")
    for period in ("d", "hourly", "daily", "weekly", "monthly", "yearly"):
        files.permissions(
            name=f"Keep cron.{period} to root", path=f"/etc/cron.{period}", mode="700"
        )


def banner(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Show a warning, and nothing that says what the system is."""
    text = f"{settings.banner.text}\n"
    for name in ("issue", "issue.net", "motd"):
        files.content(name=f"Write /etc/{name}", path=f"/etc/{name}", text=text)
    files.permissions(
        name="Show no kernel version at login", path="/etc/update-motd.d/10-uname", mode="644"
    )
