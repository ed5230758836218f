"""The attempts: deploys of nodeproof's own operations that would cut access."""

from __future__ import annotations

import os
from collections.abc import Callable

from nodeproof.engine.adapter import guard
from nodeproof.operations import apparmor, files, journal, nftables, systemd, users

SSHD = "/etc/ssh/sshd_config.d/00-attempt.conf"
SUDO = "/etc/sudoers.d/zz-attempt"
NFTABLES = "/etc/nftables.conf"
KEYS = "/home/ops/.ssh/authorized_keys"
PROFILE = "/etc/apparmor.d/usr.sbin.sshd"

GUARD_S = int(os.environ.get("LOCKOUT_GUARD_S", "20"))
"""Long enough that a confirmation comes first, short enough to wait for the guard in a test."""
TRIES_S = 4


def impatient() -> None:
    """Let the guard wait for less than an operator's patience."""
    journal.GUARD_S, guard.TRIES_S = GUARD_S, TRIES_S


def _sshd(text: str) -> None:
    written = files.content(
        name="Write the drop-in", path=SSHD, text=text, mode="600", notify="ssh.service"
    )
    systemd.told(name="Reload sshd", unit="ssh.service", after=[written], how="reload")


def firewall(*rules: str) -> str:
    """Return a rule set that drops what the rules do not accept."""
    lines = "".join(f"        {rule}\n" for rule in ("iif lo accept", *rules))
    return (
        "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n    chain input {\n"
        f"        type filter hook input priority filter; policy drop;\n{lines}    }}\n}}\n"
    )


ESTABLISHED, SSH = "ct state established,related accept", "tcp dport 22 accept"


def _firewall(*rules: str) -> None:
    written = files.content(
        name="Write the firewall",
        path=NFTABLES,
        text=firewall(*rules),
        mode="755",
        notify="nftables.service",
    )
    systemd.told(name="Load the firewall", unit="nftables.service", after=[written], how="reload")


def _table(*rules: str) -> None:
    """Load a table that takes the place of the one of the layer network."""
    table = (
        firewall(*rules).partition("flush ruleset\n")[2].replace("inet filter", "inet nodeproof")
    )
    replaced = f"table inet nodeproof\ndelete table inet nodeproof\n{table}"
    path = "/etc/nftables-attempt.nft"
    written = files.content(name="Write the table", path=path, text=replaced)
    nftables.loaded(
        name="Load the table", family="inet", table="nodeproof", path=path, after=written
    )


def _sudoers(text: str) -> None:
    files.content(name="Write the sudo rule", path=SUDO, text=text, mode="440")


def _pam(line: str) -> None:
    files.content(name="Write sshd's PAM stack", path="/etc/pam.d/sshd", text=f"{line}\n")


def _profile(*denied: str) -> None:
    """Confine sshd from its next start on; but for `denied` the profile lets it do anything."""
    allowed = ("capability", "network", "file", "signal", "ptrace", "unix", "dbus", "mount")
    rules = "".join(f"  {rule},\n" for rule in (*allowed, *denied))
    text = f"include <tunables/global>\nprofile sshd /usr/sbin/sshd {{\n{rules}}}\n"
    written = files.content(name="Write sshd's profile", path=PROFILE, text=text)
    apparmor.loaded(
        name="Load sshd's profile", profile="sshd", path=PROFILE, mode="enforce", after=written
    )
    systemd.told(name="Restart sshd", unit="ssh.service", after=[written])


REFUSED: dict[str, Callable[[], None]] = {
    "sudoers_syntax_error": lambda: _sudoers("ops ALL=(ALL NOPASSWD ALL\n"),
    "pam_module_missing": lambda: _pam("auth required pam_nowhere.so"),
    "sshd_syntax_error": lambda: _sshd("PermitRootLogin perhaps\n"),
    "nftables_syntax_error": lambda: _firewall("tcp dport drop reject maybe"),
}
"""What the daemon's own checker refuses: taken back within the step."""

TAKEN_BACK: dict[str, Callable[[], None]] = {
    "allow_groups_without_us": lambda: _sshd("AllowGroups nobody-is-in-it\n"),
    "port_without_firewall_rule": lambda: _sshd("Port 2222\n"),
    "firewall_drops_us": lambda: _firewall(ESTABLISHED),
    "sudo_rule_against_us": lambda: _sudoers("ops ALL=(ALL:ALL) !ALL\n"),
    "pam_denies": lambda: _pam("account required pam_deny.so"),
    "keys_of_another_owner": lambda: files.permissions(
        name="Own the keys", path=KEYS, mode="600", user="nobody", group="nogroup"
    ),
    "key_folder_of_another_owner": lambda: files.directory(
        name="Own the folder", path=KEYS.rpartition("/")[0], mode="700", user="nobody"
    ),
    "no_keys": lambda: users.authorized_keys(name="Set the keys", account="ops", keys=[]),
    "no_login_shell": lambda: users.account(
        **{"name": "Set the shell", "account": "ops", "shell": "/usr/sbin/nologin"}
    ),
}
"""What every checker accepts and only a new connection finds out."""

LIVE: dict[str, Callable[[], None]] = {"table_drops_us": lambda: _table(ESTABLISHED)}
"""What is in the kernel, and in no file that a daemon would read again."""

CUTS_CONNECTIONS: dict[str, Callable[[], None]] = {"firewall_drops_all": lambda: _firewall()}
"""What ends also the connection in use: only the node can take it back."""

CONFINES: dict[str, Callable[[], None]] = {
    "profile_denies_the_network": lambda: _profile("deny network"),
    "profile_denies_the_shell": lambda: _profile("deny /{usr/,}bin/bash x"),
}
"""What needs a kernel with AppArmor."""

UNCONFIRMED: dict[str, Callable[[], None]] = {
    "sshd_enabled": lambda: systemd.unit(name="Start sshd", unit="ssh.service")
}
"""What cuts nothing, but must be taken back where nobody confirms it."""

ATTEMPTS = {**UNCONFIRMED, **REFUSED, **TAKEN_BACK, **LIVE, **CUTS_CONNECTIONS, **CONFINES}


def attempt() -> None:
    """Make the attempt that the environment names."""
    ATTEMPTS[os.environ["LOCKOUT"]]()
