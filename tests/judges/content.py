"""What the judges judge with, newer than a node's own release has it: Debian sid's packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nodeproof.lab import sources, store

PACKAGES = ("ssg-debian", "lynis")


def packages() -> list[Path]:
    """Return the packages' files, fetched by apt and checked with Debian's keyring."""
    folder = store.cache_dir() / "judges"
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    unstable = [one for one in sources.retarget(sources.read(), "sid") if one.suites == ("sid",)]
    (folder / "sid.sources").write_text("\n".join(one.deb822() for one in unstable))
    settings = {
        "Dir::State::lists": folder / "lists",
        "Dir::Etc::sourcelist": folder / "sid.sources",
        "Dir::Etc::sourceparts": "-",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", "-q", *(f"-o{key}={value}" for key, value in settings.items())]
    for stale in folder.glob("*.deb"):
        stale.unlink()
    subprocess.run([*apt, "update"], check=True, cwd=folder)
    subprocess.run([*apt, "download", *PACKAGES], check=True, cwd=folder)
    found = [path for name in PACKAGES for path in folder.glob(f"{name}_*.deb")]
    assert len(found) == len(PACKAGES), f"of {PACKAGES} there came {found}"
    return found
