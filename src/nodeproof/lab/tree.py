"""The root that container nodes share: Debian in a folder, built once for each set of inputs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from nodeproof.lab import image, store


def shared_root(distribution: str, preinstall: Iterable[str] = ()) -> Path:
    """Return the root of ``distribution`` without a kernel, building it where there is none.

    It is a lower layer: never write to it. Needs root, who alone can own other users' files.
    """
    wanted = image.recipe(distribution, preinstall, bootable=False)
    folder = store.cache_dir() / "images" / f"{wanted.key}-root"
    with image.building(folder) as scratch:
        if scratch:
            archive = scratch / "root.tar"
            image.build_archive(wanted, archive)
            tree = scratch / "root"
            tree.mkdir()
            unpack = ["tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
            subprocess.run(  # noqa: S603
                [*unpack, f"--file={archive}", f"--directory={tree}"], check=True
            )
            archive.unlink()
    return folder / "root"
