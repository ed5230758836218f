"""What may be asked about files that change, or that should not be as they are."""

from __future__ import annotations

from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.types import AbsolutePath


class Integrity(LayerSettings):
    """What AIDE and the scans leave out, and which programs may run as somebody else."""

    skip: list[AbsolutePath] = setting(
        [], "directories that are not looked into, such as scratch space"
    )
    suid: list[AbsolutePath] = setting(
        [], "programs with SUID or SGID that no package of the distribution brought"
    )
