"""An apt repository with a suite and a component, as vendors of several distributions have it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from typing_extensions import override

from tests.repositories.apt import AptFolder
from tests.repositories.signing import Key


@dataclass
class AptPool(AptFolder):
    """Its lists are below ``dists/SUITE``, its packages beside that folder."""

    suite: str = "stable"
    component: str = "main"
    origin: str = "repo.radeon.com"
    label: str = ""

    @override
    def _sign(self, index: str, made: datetime, until: datetime, key: Key) -> None:
        folder, name = self.path / "dists" / self.suite, f"{self.component}/binary-amd64/Packages"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(index)
        hashed = hashlib.sha256(index.encode()).hexdigest()
        release = (
            f"Origin: {self.origin}\nLabel: {self.label or self.origin}\n"
            f"Suite: {self.suite}\nCodename: {self.suite}\n"
            f"Components: {self.component}\nArchitectures: amd64\n"
            f"Date: {format_datetime(made, usegmt=True)}\n"
            f"Valid-Until: {format_datetime(until, usegmt=True)}\n"
            f"SHA256:\n {hashed} {len(index)} {name}\n"
        )
        (folder / "Release").write_text(release)
        (folder / "InRelease").write_text(key.clearsign(release))
