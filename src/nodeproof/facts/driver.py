"""The NVIDIA driver on a node, from the lines that the fact about accelerators reads.

The modules of the running kernel say which driver it is; the package that brought them and that
package's repository say where it came from. `apt` and `dnf` are asked, not the names of packages:
NVIDIA's repository and Ubuntu's have packages of the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nodeproof.facts.accelerators import Flavour, InstalledDriver, Origin
from nodeproof.facts.dkms import dkms_line

Said = Mapping[str, list[str]]
"""Key to the values of the lines that a node printed."""

FIND_MODULE = r"""
# Debian gives the module a name of its own, such as nvidia-current-open.
own='(-current|-tesla|-tesla-[0-9]+|-legacy-[0-9x]+)?(-open)?'
at=/lib/modules/$(uname -r)
p=$(sed -nE "s#^([^:]*/nvidia$own\.ko(\.[a-z0-9]+)?):.*#\1#p" "$at/modules.dep" 2>/dev/null |
  head -n 1)
[ -z "$p" ] || p=$at/$p
"""
"""Shell that puts the path of the running kernel's NVIDIA module into p; empty where none is."""

_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")
_SOURCE = re.compile(r"/usr/src/nvidia-(?:[a-z-]+-)?(\d{3,}\.\d+(?:\.\d+)?)")
_MODULE_PACKAGES = re.compile(
    r"nvidia-dkms-.*|nvidia-(open-)?kernel-.*dkms|nvidia-kernel-open-dkms|linux-modules-nvidia-.*"
    r"|kmod-nvidia.*|akmod-nvidia.*|nvidia-driver(-(\d+|cuda|open).*)?|nvidia-headless-.*"
)
_DISTRIBUTION_REPOSITORIES = re.compile(
    r"(rhel-.*|baseos|appstream|crb|extras|epel|fedora|updates|anaconda)(-.*)?"
)


def installed_driver(said: Said) -> InstalledDriver | None:
    """Return the driver that is installed or loaded; None where there is none."""
    loaded = _loaded(said)
    modinfo = dict(line.split(maxsplit=1) for line in said.get("modinfo", ()) if " " in line)
    package = _package(said)
    version = modinfo.get("version") or loaded or _built(said) or _packaged(said, package)
    if not version:
        return None
    return InstalledDriver(
        version=version,
        origin="runfile" if "installer" in said else _origin(said, package),
        flavour=_flavour(said, modinfo.get("license", ""), package),
        package=package,
        loaded=bool(loaded),
    )


def _loaded(said: Said) -> str:
    """Return the version of the loaded module, from /proc/driver/nvidia/version."""
    line = next((line for line in said.get("nvrm", ()) if line.startswith("NVRM version")), "")
    found = _VERSION.search(line)
    return found[1] if found else ""


def _built(said: Said) -> str:
    """Return the version of modules that DKMS has, for whatever kernel, or whose source it has."""
    modules = [one for one in map(dkms_line, said.get("dkms", ())) if one is not None]
    named = [one for one in modules if re.fullmatch(r"nvidia(-[a-z-]+)?", one.module)]
    versions = [one.version for one in named if _VERSION.fullmatch(one.version)]  # not nvidia-fs's
    sources = [found[1] for found in map(_SOURCE.fullmatch, said.get("source", ())) if found]
    return next(iter([*versions, *sources]), "")


def _package(said: Said) -> str | None:
    owners = [line.split() for line in said.get("owner", ())]
    by_file = {words[0]: words[1] for words in owners if len(words) == 2}
    modules = [name for path, name in by_file.items() if not path.endswith("/dkms.conf")]
    sources = [
        name for path, name in by_file.items() if _SOURCE.fullmatch(path.removesuffix("/dkms.conf"))
    ]
    policy = [line.rstrip(":") for line in said.get("policy", ()) if re.fullmatch(r"\S+:", line)]
    others = [line.split()[0] for line in said.get("from_repo", ()) if line.split()]
    return next(iter([*modules, *sources, *policy, *others]), None)


def _packaged(said: Said, package: str | None) -> str:
    """Return the version that the package has, without epoch and revision."""
    debs = [line.split() for line in said.get("deb", ())]
    rpms = [line.split() for line in said.get("rpm", ())]
    pairs = [(words[2], words[3]) for words in debs if len(words) == 4]
    pairs += [(words[0], words[1]) for words in rpms if len(words) == 2]
    for name, version in pairs:
        if name == package and _MODULE_PACKAGES.fullmatch(name):
            found = _VERSION.search(version)
            return found[1] if found else ""
    return ""


def _flavour(said: Said, licence: str, package: str | None) -> Flavour:
    if licence:
        return "proprietary" if licence.strip() == "NVIDIA" else "open"
    if nvrm := " ".join(said.get("nvrm", ())):
        return "open" if "Open Kernel Module" in nvrm else "proprietary"
    if package and _MODULE_PACKAGES.fullmatch(package) and "dkms" in package:
        return "open" if "open" in package else "proprietary"
    return "unknown"


def _origin(said: Said, package: str | None) -> Origin:
    if package is None:
        return "unknown"
    origins = set(filter(None, _apt_origins(said)))
    repositories = [line.split() for line in said.get("from_repo", ())]
    repository = next((words[1] for words in repositories if len(words) == 2), "")
    maintainer = " ".join(said.get("maintainer", ()))
    if "NVIDIA" in origins or repository.startswith(("cuda-", "nodeproof-cuda")):
        return "vendor-repository"
    if any(one.startswith(("Debian", "Ubuntu")) for one in origins):
        return "distribution"
    if _DISTRIBUTION_REPOSITORIES.fullmatch(repository):
        return "distribution"
    vendors = "nvidia.com" in maintainer or maintainer.endswith("NVIDIA Corporation")
    return "vendor-repository" if vendors and not (origins or repository) else "unknown"


def _apt_origins(said: Said) -> Iterator[str]:
    """Yield the origin (``o=``) of each index that has the installed version of the package."""
    releases: dict[str, str] = {}
    index = ""
    for line in said.get("index", ()):
        words = line.split(maxsplit=1)
        if len(words) == 2 and re.fullmatch(r"-?\d+", words[0]):
            index = words[1]
        elif words[:1] == ["release"]:
            named = re.search(r"\bo=([^,]*)", line)
            releases[index] = named[1] if named else ""
    here = False
    for line in said.get("policy", ()):
        words = line.split(maxsplit=1)
        if line.startswith((" ***", "     ")) and not line.startswith("      "):
            here = line.startswith(" ***")
        elif here and len(words) == 2:
            yield releases.get(words[1], "")
