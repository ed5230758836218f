"""Why a node could not be reached, and what to do about it."""

from __future__ import annotations

from nodeproof.errors import UnreachableError

_REASONS = (
    (
        "No host key for",
        "its host key is not known",
        "compare its fingerprint, then enrol it with `nodeproof trust INVENTORY`",
    ),
    (
        "does not match",
        "its host key has CHANGED",
        "if the machine was reinstalled: `nodeproof trust --replace INVENTORY`; "
        "if not, somebody may be in between: stop here",
    ),
    (
        "Authentication error",
        "it refuses our key or password",
        "check ssh_user and ssh_key in the inventory, or load the key into your ssh-agent",
    ),
    (
        "No authentication methods",
        "there is no key to log in with",
        "set ssh_key in the inventory, or load a key into your ssh-agent",
    ),
    ("Could not resolve", "its name cannot be resolved", "check ssh_hostname in the inventory"),
    (
        "protocol banner",
        "it closes the connection at once",
        "too many failed logins from here make sshd refuse for a while (PerSourcePenalties); "
        "wait a minute, or check that sshd is what listens on this port",
    ),
    ("timed out", "no answer within 10 s", "check address, port and firewall"),
    ("Unable to connect", "connection refused", "check address, port, and that sshd runs there"),
    ("Connection refused", "connection refused", "check address, port, and that sshd runs there"),
    ("not a valid", "the private key file cannot be read", "check ssh_key in the inventory"),
)


def explain(host: str, error: Exception) -> UnreachableError:
    """Turn a connection error into one line and a hint."""
    said = str(error)
    for part, reason, hint in _REASONS:
        if part.lower() in said.lower():
            return UnreachableError(f"{host}: {reason}", hint=hint)
    return UnreachableError(f"{host}: cannot connect: {said}")
