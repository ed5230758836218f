"""A flat apt repository in a folder, and the ways in which one can be broken."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from tests.repositories.deb import Package
from tests.repositories.signing import Key


@dataclass
class AptFolder:
    """What a vendor puts on a server: packages, an index, a signed Release, and the key."""

    path: Path
    key: Key
    packages: list[Package] = field(default_factory=list)
    key_file: str = "vendor.pub"

    def publish(
        self,
        packages: Sequence[Package] | None = None,
        *,
        signed_by: Key | None = None,
        valid_for: timedelta = timedelta(days=7),
        made: timedelta = timedelta(),
    ) -> None:
        """Write everything anew; `made` is how long ago that was."""
        self.path.mkdir(parents=True, exist_ok=True)
        if packages is not None:
            self.packages = list({(one.name, one.version): one for one in packages}.values())
        for package in self.packages:
            path = self.path / package.filename
            if not path.exists():
                path.write_bytes(package.built())
        index = "".join(self._stanza(package) for package in self.packages)
        (self.path / "Packages").write_text(index)
        (self.path / self.key_file).write_text(self.key.public)
        made_at = datetime.now(UTC) - made
        self._sign(index, made_at, made_at + valid_for, signed_by or self.key)

    def _stanza(self, package: Package) -> str:
        data = (self.path / package.filename).read_bytes()
        return (
            f"{package.control()}Filename: ./{package.filename}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        )

    def _sign(self, index: str, made: datetime, until: datetime, key: Key) -> None:
        hashed = hashlib.sha256(index.encode()).hexdigest()
        release = (
            "Origin: NVIDIA\nLabel: NVIDIA CUDA\nArchitecture: amd64\n"
            f"Date: {format_datetime(made, usegmt=True)}\n"
            f"Valid-Until: {format_datetime(until, usegmt=True)}\n"
            f"SHA256:\n {hashed} {len(index)} Packages\n"
        )
        (self.path / "Release").write_text(release)
        signed = self.path / "InRelease"
        before = signed.stat().st_mtime if signed.exists() else 0
        signed.write_text(key.clearsign(release))
        # HTTP dates have whole seconds: what is changed twice in one would not be fetched again.
        later = max(signed.stat().st_mtime, before + 1)
        os.utime(signed, (later, later))

    # Ways to break it

    def change_index(self) -> None:
        """Change the list of packages behind the back of the signature."""
        path = self.path / "Packages"
        path.write_text(path.read_text().replace("in name only", "in name alone"))

    def change_package(self, name: str, version: str) -> Path:
        """Change a package behind the back of the list."""
        package = next(one for one in self.packages if (one.name, one.version) == (name, version))
        path = self.path / package.filename
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data)
        return path

    def change_release(self) -> None:
        """Change what was signed."""
        path = self.path / "InRelease"
        path.write_text(path.read_text().replace("Label: NVIDIA CUDA", "Label: NVIDIA CUDB"))

    def unsign(self) -> None:
        """Take the signature away."""
        (self.path / "InRelease").unlink()
