"""Keys that sign a repository: good ones, and ones that have expired."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

LONG_AGO = "20240101T000000"
"""When keys were made that have expired since."""


@dataclass(frozen=True)
class Key:
    """A key in a keyring of its own."""

    home: Path
    fingerprint: str
    public: str
    """Armored."""
    then: str = ""
    """What time it is when it signs; empty: now."""

    @property
    def id(self) -> str:
        """The last eight digits, as vendors call their key files."""
        return self.fingerprint[-8:]

    def clearsign(self, text: str) -> str:
        """Return the text with its signature, as in InRelease."""
        return _gpg(self.home, self.then, "--clearsign", text=text, user=self.fingerprint)

    def detached(self, text: str) -> str:
        """Return an armored signature of the text, as in repomd.xml.asc."""
        return _gpg(
            self.home, self.then, "--armor", "--detach-sign", text=text, user=self.fingerprint
        )


def secret(key: Key) -> str:
    """Return the secret key, which has no passphrase, for another machine to sign with."""
    loopback = ("--pinentry-mode", "loopback", "--passphrase", "")
    return _gpg(key.home, "", "--armor", *loopback, "--export-secret-keys")


def make_key(folder: Path, name: str, *, expired: bool = False) -> Key:
    """Make a key; one that has expired was valid for a month."""
    home = folder / f"gpg-{name}"
    home.mkdir(mode=0o700)
    then = LONG_AGO if expired else ""
    owner = f"{name} <{name}@vendor.example>"
    days = "30d" if expired else "never"
    _gpg(home, then, "--passphrase", "", "--quick-gen-key", owner, "rsa2048", "sign", days)
    listed = _gpg(home, "", "--list-keys", "--with-colons")
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    return Key(home, fingerprint, _gpg(home, "", "--armor", "--export"), then)


def stop_agent(key: Key) -> None:
    """End the agent that gpg has started for this keyring."""
    subprocess.run(["gpgconf", "--homedir", str(key.home), "--kill", "all"], check=True)


def _gpg(home: Path, then: str, *words: str, text: str = "", user: str = "") -> str:
    clock = [f"--faked-system-time={then}!"] if then else []
    who = ["--local-user", user] if user else []
    done = subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty", *clock, *who, *words],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
