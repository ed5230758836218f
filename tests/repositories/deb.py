"""Debian packages of a few octets."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Package:
    """A package; relations are written as in its control file."""

    name: str
    version: str
    depends: str = ""
    conflicts: str = ""
    provides: str = ""
    architecture: str = "amd64"
    files: Mapping[str, str] = field(default_factory=dict)
    conffiles: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    """What dpkg runs, by name: postinst, prerm."""

    @property
    def filename(self) -> str:
        """As vendors name it: without the epoch."""
        return f"{self.name}_{self.version.rpartition(':')[2]}_{self.architecture}.deb"

    def control(self) -> str:
        """Return its control file."""
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "nobody <nobody@vendor.example>",
            "Section": "non-free/libs",
            "Priority": "optional",
            "Depends": self.depends,
            "Conflicts": self.conflicts,
            "Replaces": self.conflicts,
            "Provides": self.provides,
            "Description": f"{self.name}, in name only",
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)

    def built(self) -> bytes:
        """Return the package; the same every time."""
        owned = {f"/usr/share/vendor/{self.name}": f"{self.version}\n", **self.files}
        control = {"/control": self.control()}
        control |= {f"/{name}": f"#!/bin/sh\nset -e\n{text}" for name, text in self.scripts.items()}
        if self.conffiles:
            control["/conffiles"] = "".join(f"{path}\n" for path in self.conffiles)
        members = {
            "debian-binary": b"2.0\n",
            "control.tar.gz": _tar(control),
            "data.tar.gz": _tar(owned),
        }
        return b"!<arch>\n" + b"".join(_member(name, data) for name, data in members.items())


def _tar(files: Mapping[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        folders = {
            "." + "/".join(parts[:depth])
            for parts in (path.split("/") for path in files)
            for depth in range(1, len(parts))
        }
        for folder in sorted(folders):
            entry = tarfile.TarInfo(f"{folder}/")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path, text in files.items():
            entry = tarfile.TarInfo(f".{path}")
            program = "/bin/" in path or text.startswith("#!")
            entry.size, entry.mode = len(text.encode()), 0o755 if program else 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(stream.getvalue(), mtime=0)


def _member(name: str, data: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
    return head + data + b"\n" * (len(data) % 2)
