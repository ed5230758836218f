"""Disk images of Debian, built once for each set of inputs and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nodeproof.errors import NodeproofError, RefusedError
from nodeproof.lab import guest, requirements, sources, store

log = logging.getLogger(__name__)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
DISK_SIZE = 12 * 1024**3  # sparse
CLEAN_UP_SECONDS = 60
# An ordinary user owns the files of other users only inside a user namespace.
NAMESPACE = ["unshare", "--user", "--map-root-user", "--map-auto"]
RECIPE = 2  # raise it when this module builds another image from the same inputs


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what an image contains."""

    distribution: str
    architecture: str
    packages: tuple[str, ...]
    sources: str
    settings: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the image's name in the cache: the distribution and a hash of every input."""
        files = [
            (path, file.content.decode(), file.mode) for path, file in guest.image_files().items()
        ]
        inputs = json.dumps([RECIPE, DISK_SIZE, vars(self), sorted(files)], sort_keys=True)
        return f"{self.distribution}-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Image:
    """A built image: a disk to lay overlays on, and the kernel that boots it."""

    folder: Path

    @property
    def disk(self) -> Path:
        """Return the raw disk; it is never written to."""
        return self.folder / "disk.raw"

    @property
    def kernel(self) -> Path:
        """Return the kernel."""
        return self.folder / "kernel"

    @property
    def initrd(self) -> Path:
        """Return the initial RAM disk."""
        return self.folder / "initrd"


def architecture() -> str:
    """Return this host's architecture in Debian's words."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise RefusedError(
            f"lab: {machine} processors are not supported",
            hint=f"Use a host with one of: {', '.join(ARCHITECTURES)}.",
        )
    return ARCHITECTURES[machine]


def recipe(distribution: str, preinstall: Iterable[str] = (), *, bootable: bool = True) -> Recipe:
    """Return the recipe of an image, from this host's apt sources and settings.

    A kernel among ``preinstall`` takes the place of the small cloud kernel.
    """
    packages = {*guest.PACKAGES, *guest.ALSO.get(distribution, ()), *preinstall}
    if bootable:
        packages |= set(guest.BOOT_PACKAGES)
        if not any(name.startswith("linux-image-") for name in packages):
            packages.add(f"linux-image-cloud-{architecture()}")
    entries = sources.debian_sources(distribution)
    return Recipe(
        distribution,
        architecture(),
        tuple(sorted(packages)),
        "\n".join(entry.deb822() for entry in entries),
        tuple(sources.apt_settings()),
    )


def disk_image(distribution: str, preinstall: Iterable[str] = ()) -> Image:
    """Return the image for these inputs, building it where the cache has none."""
    wanted = recipe(distribution, preinstall)
    folder = store.cache_dir() / "images" / wanted.key
    with building(folder) as scratch:
        if scratch:
            _build_disk(wanted, scratch)
    return Image(folder)


@contextmanager
def building(folder: Path) -> Iterator[Path | None]:
    """Yield a scratch folder that becomes ``folder``, or None where that exists already.

    Another process that wants the same image waits for it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        yield None
        return
    with store.locked(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():
            yield None
            return
        started = time.monotonic()
        log.info("building image %s", folder.name)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as name:
            scratch = Path(name, "image")
            scratch.mkdir()
            yield scratch
            scratch.rename(folder)
        log.info("image %s built in %.0f s", folder.name, time.monotonic() - started)


def build_archive(wanted: Recipe, archive: Path) -> None:
    """Fetch and unpack Debian into the tar file ``archive``, checking every signature."""
    _require_namespace()
    overlay = archive.with_name("overlay.tar")
    overlay.write_bytes(guest.pack(guest.image_files()))
    listed = archive.with_name("lab.sources")
    listed.write_text(wanted.sources)
    setup = f'chroot "$1" sh {guest.SETUP}'
    argv = [
        requirements.command("mmdebstrap"),
        f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        "--variant=minbase",
        "--format=tar",
        f"--architectures={wanted.architecture}",
        f"--include={','.join(wanted.packages)}",
        *(f"--aptopt={setting}" for setting in wanted.settings),
        f"--essential-hook=tar-in {shlex.quote(str(overlay))} /",
        f"--customize-hook={setup}",
        sources.CODENAMES[wanted.distribution],
        str(archive),
        str(listed),
    ]
    run(argv, what=f"mmdebstrap of {wanted.distribution}")
    overlay.unlink()
    listed.unlink()


def run(argv: list[str], *, what: str) -> None:
    """Run a build step; raise NodeproofError with the end of its output where it fails."""
    process = subprocess.Popen(  # noqa: S603
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        output, _ = process.communicate()
    except KeyboardInterrupt:
        # The terminal interrupted it too: let it remove its temporary files.
        process.communicate(timeout=CLEAN_UP_SECONDS)
        raise
    if process.returncode:
        tail = "\n".join(output.splitlines()[-20:])
        raise NodeproofError(f"{what}: exit status {process.returncode}", hint=tail)


def _require_namespace() -> None:
    """Refuse, before anything is fetched, where this user cannot own other users' files."""
    if os.geteuid() == 0:
        return
    tried = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True, check=False)  # noqa: S603
    if tried.returncode:
        raise RefusedError(
            f"lab: this user cannot build an image: {tried.stderr.strip()}",
            hint="Give the user subordinate ids (usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 NAME) and allow user namespaces, or run as root.",
        )


def _build_disk(wanted: Recipe, scratch: Path) -> None:
    archive = scratch / "root.tar"
    build_archive(wanted, archive)
    _extract_boot_files(archive, scratch)
    log.info("writing the disk")
    disk = scratch / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(DISK_SIZE)
    _fill_disk(archive, disk)
    archive.unlink()
    store.write_json(scratch / "image.json", {"packages": wanted.packages})


def _extract_boot_files(archive: Path, folder: Path) -> None:
    """Take the newest kernel and its initial RAM disk out of the root's archive."""
    with tarfile.open(archive) as root:
        for prefix, name in (("vmlinuz-", "kernel"), ("initrd.img-", "initrd")):
            found = [
                member
                for member in root
                if member.isreg() and member.name.removeprefix("./").startswith(f"boot/{prefix}")
            ]
            source = root.extractfile(max(found, key=lambda member: member.name)) if found else None
            if source is None:
                raise NodeproofError(f"image: its root has no /boot/{prefix}*")
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def _fill_disk(archive: Path, disk: Path) -> None:
    """Make a file system on ``disk`` that holds the root; no mount, no loop device."""
    # Device nodes are left out: the kernel brings its own, and only real root can make them.
    script = (
        'trap \'rm -rf "$3"\' EXIT; trap "exit 130" INT TERM; mkdir "$3"; '
        'tar --extract --file="$1" --directory="$3" --numeric-owner --xattrs '
        '--xattrs-include="*" --exclude="./dev/*"; '
        '"$4" -q -F -t ext4 -L lab -E lazy_itable_init=1,lazy_journal_init=1 -d "$3" "$2"'
    )
    tree = archive.with_name("tree")
    mke2fs = requirements.command("mke2fs")
    inside = [] if os.geteuid() == 0 else NAMESPACE
    run(
        [*inside, "sh", "-ec", script, "sh", str(archive), str(disk), str(tree), mke2fs],
        what="mke2fs",
    )
