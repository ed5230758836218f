"""What may be asked of the ssh layer."""

from __future__ import annotations

from enum import StrEnum

from nodeproof.catalog.hardening.decide import CHOSEN, UNGUARDED
from nodeproof.catalog.hardening.model import Exempt, Value
from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.types import GroupName, SshAlgorithm, UserName


class RootLogin(StrEnum):
    """Whether root may log in."""

    NO = "no"
    KEY = "prohibit-password"


class Settings(LayerSettings):
    """Settings of the ssh layer; see sshd_config(5) for what each does."""

    password_login: bool = setting(False, "whether a password is enough to log in")
    root_login: RootLogin = setting(RootLogin.NO, "whether root may log in", strict=False)
    allow_users: list[UserName] = setting([], "only these users may log in; none means all")
    allow_groups: list[GroupName] = setting(
        [], "only members of these groups may log in; none means all"
    )
    max_auth_tries: int = setting(4, "failed tries before a connection ends", ge=1, le=10)
    max_sessions: int = setting(10, "sessions on one connection", ge=2, le=100)
    login_grace_s: int = setting(60, "time to log in", unit="s", ge=10, le=600)
    client_alive_s: int = setting(
        300, "a silent client is asked for a sign of life this often", unit="s", ge=10, le=3600
    )
    client_alive_count: int = setting(3, "signs of life that may be missed", ge=1, le=10)
    tcp_forwarding: bool = setting(False, "port forwarding, as notebooks over ssh need it")
    agent_forwarding: bool = setting(False, "forwarding of the user's ssh-agent")
    x11_forwarding: bool = setting(False, "forwarding of graphical programs")
    ciphers: list[SshAlgorithm] = setting(
        [
            "chacha20-poly1305@openssh.com",
            "aes256-gcm@openssh.com",
            "aes128-gcm@openssh.com",
            "aes256-ctr",
            "aes192-ctr",
            "aes128-ctr",
        ],
        "ciphers; those that the node's OpenSSH lacks are left out",
        min_length=1,
    )
    macs: list[SshAlgorithm] = setting(
        ["hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com"],
        "message authentication codes; those that the node's OpenSSH lacks are left out",
        min_length=1,
    )
    key_exchange: list[SshAlgorithm] = setting(
        [
            "mlkem768x25519-sha256",
            "sntrup761x25519-sha512",
            "sntrup761x25519-sha512@openssh.com",
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
            "diffie-hellman-group16-sha512",
            "diffie-hellman-group18-sha512",
        ],
        "key exchanges, safe against quantum computers first; those that the node's OpenSSH "
        "lacks are left out",
        min_length=1,
    )


KEYS_ALONE = "keys alone, which the inventory lists for each account"


def exceptions(settings: Settings) -> tuple[Exempt, ...]:
    """Return where the settings ask for less than the controls do."""
    named = ", ".join([*settings.allow_users, *settings.allow_groups])
    looser = (
        ("01", "root_login", "no", settings.root_login.value, KEYS_ALONE),
        ("02", "password_login", False, settings.password_login, UNGUARDED),
        ("04", "allow_groups", "named", "named" if named else None, KEYS_ALONE),
        ("05", "tcp_forwarding", False, settings.tcp_forwarding, UNGUARDED),
        ("05", "agent_forwarding", False, settings.agent_forwarding, UNGUARDED),
        ("05", "x11_forwarding", False, settings.x11_forwarding, UNGUARDED),
    )
    found = [_exempt(*one) for one in looser if one[2] != one[3]]
    for name in ("ciphers", "macs", "key_exchange"):
        strong, asked = Settings.model_fields[name].default, getattr(settings, name)
        if set(asked) - set(strong):
            found.append(_exempt("03", name, tuple(strong), tuple(asked), UNGUARDED))
    for name in ("max_auth_tries", "max_sessions", "login_grace_s", "client_alive_count"):
        most, asked = Settings.model_fields[name].default, getattr(settings, name)
        if asked > most:
            found.append(_exempt("06", name, most, asked, UNGUARDED))
    return tuple(found)


def _exempt(
    number: str, name: str, wanted: Value, value: Value | None, compensation: str
) -> Exempt:
    return Exempt(
        control=f"NP-SSH-{number}",
        parameter=f"ssh.{name}",
        wanted=wanted,
        value=value,
        reason=CHOSEN,
        compensation=compensation,
    )
