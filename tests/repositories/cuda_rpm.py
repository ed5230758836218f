"""The same as `cuda` for dnf: its packages by the names that they have there, and their scripts."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.repositories import cuda
from tests.repositories.deb import Package
from tests.repositories.rpm import Rpm, Source

_NAMES = {"libnccl2": "libnccl", "libnccl-dev": "libnccl-devel"}
_RELATION = re.compile(r"(?P<name>[^ ]+)(?: \((?P<sign>[<>=]+) (?P<version>[^)]+)\))?")


def repository() -> list[Source]:
    """Return three toolkits, and the libraries for them: a source for each version."""
    found: dict[str, Source] = {}
    for package in cuda.repository():
        version, _, release = package.version.rpartition("-")
        source = found.setdefault(package.version, Source(version, (), "", release))
        found[package.version] = replace(source, packages=(*source.packages, _rpm(package)))
    return [*found.values()]


def _rpm(package: Package) -> Rpm:
    # dpkg's alternatives, which stand for EL's here, want a toolkit to be there; with apt all is
    # unpacked before the first script, with dnf after the last package only.
    scripts = {"posttrans": package.scripts.get("postinst", ""), "preun": ""}
    if "prerm" in package.scripts:
        scripts["preun"] = f'[ "$1" = 0 ] || exit 0\n{package.scripts["prerm"]}'
    return Rpm(
        _name(package.name),
        tuple(map(_relation, filter(None, package.depends.split(", ")))),
        files=package.files,
        scripts={name: text for name, text in scripts.items() if text},
    )


def _name(name: str) -> str:
    return _NAMES.get(name, name).replace("-dev-cuda", "-devel-cuda")


def _relation(text: str) -> str:
    found = _RELATION.fullmatch(text)
    assert found, text
    return f"{_name(found['name'])} {found['sign'] or '>='} {found['version'] or '0'}"
