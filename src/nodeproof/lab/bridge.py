"""The network of container nodes: a bridge with a way out, and nothing left when it goes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from nodeproof.errors import NodeproofError
from nodeproof.lab import lease, requirements, store

NAME = "nodeproof0"
GATEWAY = "10.77.0.1"
NETWORK = "10.77.0.0/24"
TABLE = "nodeproof_lab"
# A node takes some inotify instances for each of its services; the usual limit is 128 for all.
SYSCTLS = {"net/ipv4/ip_forward": 1, "fs/inotify/max_user_instances": 8192}
_SAVED = lease.FOLDER / "sysctl"
_RULES = f"""
table ip {TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {NETWORK} ip daddr != {NETWORK} masquerade
  }}
}}
"""


def up() -> None:
    """Make the bridge and its address translation, unless they are there; hold the lock."""
    if Path("/sys/class/net", NAME).exists():
        return
    _raise_sysctls()
    _ip("link", "add", NAME, "type", "bridge")
    _ip("addr", "add", f"{GATEWAY}/24", "dev", NAME)
    _ip("link", "set", NAME, "up")
    _nft(_RULES)


def down() -> None:
    """Remove both and give the kernel its settings back; hold the lock."""
    if not Path("/sys/class/net", NAME).exists():
        return
    _nft(f"delete table ip {TABLE}")
    _ip("link", "delete", NAME)
    for key, value in store.read_json(_SAVED).items():
        Path("/proc/sys", key).write_text(f"{value}\n")
    _SAVED.unlink(missing_ok=True)


def mtu() -> int:
    """Return the packet size of the host's way out, 1500 where it has none."""
    routes = json.loads(_ip("-json", "route", "show", "default") or "[]")
    cards = [Path("/sys/class/net", route["dev"], "mtu") for route in routes if "dev" in route]
    return min((int(card.read_text()) for card in cards), default=1500)


def resolver() -> str:
    """Return a resolv.conf that works behind the bridge."""
    # systemd-resolved's own address answers on the host only; it keeps the real ones here.
    real = Path("/run/systemd/resolve/resolv.conf")
    return (real if real.exists() else Path("/etc/resolv.conf")).read_text()


def _raise_sysctls() -> None:
    saved = {}
    for key, wanted in SYSCTLS.items():
        path = Path("/proc/sys", key)
        value = int(path.read_text())
        if value < wanted:
            saved[key] = value
            path.write_text(f"{wanted}\n")
    store.write_json(_SAVED, saved)


def _ip(*words: str) -> str:
    return _run([requirements.command("ip"), *words])


def _nft(rules: str) -> None:
    _run([requirements.command("nft"), "-f", "-"], rules)


def _run(argv: list[str], text: str = "") -> str:
    done = subprocess.run(  # noqa: S603
        argv, input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NodeproofError(f"container nodes: {' '.join(argv)} failed", hint=done.stderr.strip())
    return done.stdout
