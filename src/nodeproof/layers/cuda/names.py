"""What packages are called, and where they land; both the deed and the proof use it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nodeproof.catalog.model.base import Family
from nodeproof.catalog.versions import series_of
from nodeproof.catalog.whole import Catalog
from nodeproof.layers.cuda.settings import Parts

DEFAULT = "/usr/local/cuda"
"""The link of the default toolkit."""
GROUP = "cuda"
"""The alternatives that NVIDIA's packages register for it."""
ALTERNATIVES = (
    *(DEFAULT, f"/etc/alternatives/{GROUP}"),
    *(f"/var/lib/dpkg/alternatives/{GROUP}", f"/var/lib/alternatives/{GROUP}"),
)
"""The link, where it leads, and who chose it: in dpkg's program, or in that of chkconfig's."""
PROFILE = "/etc/profile.d/nodeproof-cuda.sh"
NO_DRIVER = "/etc/apt/preferences.d/nodeproof-no-driver.pref"
"""What keeps a driver for Linux out of WSL 2; of several files apt heeds the first."""
CUDNN, NCCL = "libcudnn.so.9", "libnccl.so.2"
"""What programs are linked with."""

COMPAT = "cuda-compat-"
"""What the names of packages for forward compatibility begin with."""

_PACKAGE = re.compile(r"cuda-[a-z-]+-(?P<major>[0-9]+)-(?P<minor>[0-9]+)")


def folder(series: str) -> str:
    """Return where a toolkit is."""
    return f"{DEFAULT}-{series}"


def toolkit(version: str, parts: Parts, catalog: Catalog) -> str:
    """Return the package of a toolkit, or of as much of it as is asked for."""
    major = catalog.cuda_majors[series_of(version, 1)]
    of_parts = {"build": major.build_package, "libraries": major.libraries_package}
    return _filled(of_parts.get(parts, catalog.cuda_toolkits[version].package), version)


def cudnn(series: str, family: Family, catalog: Catalog) -> tuple[str, ...]:
    """Return the packages of cuDNN for a toolkit."""
    found = getattr(catalog.cuda_majors[series_of(series, 1)].cudnn, family)
    return tuple(_filled(one, series) for one in found)


def nccl(series: str, family: Family, catalog: Catalog) -> tuple[str, ...]:
    """Return the packages of NCCL for a toolkit."""
    found = getattr(catalog.cuda_majors[series_of(series, 1)].nccl, family)
    return tuple(_filled(one, series) for one in found)


def series_in(package: str) -> str:
    """Return the release in a package's name: 13.1 of cuda-toolkit-13-1."""
    found = _PACKAGE.fullmatch(package)
    return f"{found['major']}.{found['minor']}" if found else ""


def installed(packages: Mapping[str, str], parts: Parts, catalog: Catalog) -> dict[str, str]:
    """Return the toolkits among packages, known to the catalog or not: package to series."""
    version = next(iter(catalog.cuda_toolkits))
    kind = toolkit(version, parts, catalog).removesuffix(series_of(version).replace(".", "-"))
    found = {name: series_in(name) for name in packages if name.startswith(kind)}
    return {
        name: series for name, series in found.items() if name == kind + series.replace(".", "-")
    }


def _filled(pattern: str, version: str) -> str:
    major, minor = series_of(version).split(".")
    return pattern.format(major=major, minor=minor)
