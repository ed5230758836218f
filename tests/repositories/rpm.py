"""The same vendor's repository for dnf: packages of a few octets, module streams, signatures.

Packages are built where rpmbuild is, on a node, and signed there; only the metadata is signed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

OLD, NEWER, NEXT = "580.126.09", "580.178.04", "595.91.07"
EPOCH = "3"

SUPPLIES = ("nvidia-*", "kmod-nvidia-*", "libnvidia-*", "cuda-*", "datacenter-gpu-manager-4-*")
DRIVER = ("nvidia-open", "nvidia-fabricmanager", "libnvidia-nscq")
LOCKSTEP = (
    *("nvidia-open", "nvidia-driver", "nvidia-driver-cuda", "kmod-nvidia-open-dkms"),
    *("nvidia-persistenced", "nvidia-fabricmanager", "libnvidia-nscq"),
)


@dataclass(frozen=True)
class Rpm:
    """A package; a requirement is exact where it names no other version."""

    name: str
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Path to text, beside a file that says which version this is."""
    scripts: Mapping[str, str] = field(default_factory=dict)
    """What rpm runs, by name: post, posttrans, preun."""
    beside: bool = False
    """Whether several of its builds can be there, so that they share no file."""


@dataclass(frozen=True)
class Source:
    """Packages of one version."""

    version: str
    packages: tuple[Rpm, ...]
    epoch: str = ""
    release: str = "1.el9"
    native: bool = False
    """Whether they are for this processor only, as kernels are."""

    @property
    def evr(self) -> str:
        """As dnf writes it."""
        return f"{self.epoch}:{self.version}-{self.release}".removeprefix(":")

    def spec(self) -> str:
        """Return what rpmbuild is given."""
        epoch = f"Epoch: {self.epoch}\n" if self.epoch else ""
        arch = "" if self.native else "BuildArch: noarch\n"
        head = (
            f"Name: vendor-source\nVersion: {self.version}\nRelease: {self.release}\n{epoch}"
            f"Summary: in name only\nLicense: MIT\n{arch}%description\nIn name only.\n"
        )
        install = "%install\nmkdir -p %{buildroot}/usr/share/vendor\n"
        install += "".join(
            f"echo {self.evr} >%{{buildroot}}{self._own(one)}\n" for one in self.packages
        )
        for path, text in (item for one in self.packages for item in one.files.items()):
            install += f"mkdir -p %{{buildroot}}{path.rpartition('/')[0]}\n"
            install += f"cat >%{{buildroot}}{path} <<'END'\n{text}END\n"
        return head + "".join(self._package(one) for one in self.packages) + install

    def _package(self, one: Rpm) -> str:
        requires = "".join(f"Requires: {self._exactly(what)}\n" for what in one.requires)
        relations = "".join(f"Conflicts: {what}\n" for what in one.conflicts)
        relations += "".join(f"Provides: {what}\n" for what in one.provides)
        modes = {path: "%attr(755,-,-) " if "/bin/" in path else "" for path in one.files}
        files = "".join(f"{mode}{path}\n" for path, mode in modes.items())
        files += "".join(f"%dir {folder}\n" for folder in _own_folders(one.files))
        scripts = "".join(f"%{what} -n {one.name}\n{text}\n" for what, text in one.scripts.items())
        return (
            f"%package -n {one.name}\nSummary: in name only\n{requires}{relations}"
            f"%description -n {one.name}\nIn name only.\n{scripts}"
            f"%files -n {one.name}\n{self._own(one)}\n{files}"
        )

    def _own(self, one: Rpm) -> str:
        return f"/usr/share/vendor/{one.name}{f'-{self.evr}' if one.beside else ''}"

    def _exactly(self, what: str) -> str:
        return what if " " in what else f"{what} = {self.evr}"


def _own_folders(paths: Iterable[str]) -> list[str]:
    """Return the folders that go with these files, because nobody else has them."""
    every = {str(folder) for path in paths for folder in PurePosixPath(path).parents}
    return sorted(one for one in every if one.startswith(("/usr/src/", "/usr/local/")))


BESIDE = Rpm("kmod-nvidia-beside", provides=("installonlypkg(kernel-module)",), beside=True)


def driver(version: str, release: str = "1.el9") -> Source:
    """Return the packages of one driver version."""
    return Source(
        version,
        (
            Rpm("nvidia-open", ("nvidia-driver", "kmod-nvidia-open-dkms")),
            Rpm("nvidia-driver", ("nvidia-driver-cuda",)),
            Rpm("nvidia-driver-cuda", (f"nvidia-persistenced >= {EPOCH}:{version}",)),
            Rpm("kmod-nvidia-open-dkms"),
            Rpm("nvidia-persistenced"),
            Rpm("nvidia-fabricmanager", ("nvidia-driver-cuda",)),
            Rpm("libnvidia-nscq"),
        ),
        EPOCH,
        release,
    )


def others() -> list[Source]:
    """Return what goes its own way."""
    return [
        Source("4.6.0", (Rpm("datacenter-gpu-manager-4-core"),), "1", "1"),
        Source("12.9.1", (Rpm("cuda-toolkit-12-9"),), "", "1"),
        Source("1.0", (Rpm("vendor-telemetry"),), "", "1"),
        # dnf installs one for each kernel, side by side.
        *(Source("5.14.0", (BESIDE,), "", f"{build}.el9") for build in (611, 687)),
    ]


def modules(sources: Sequence[Source]) -> str:
    """Return modules.yaml: a stream for each branch, as on EL 8 and 9."""
    branches: dict[str, list[Source]] = {}
    for source in sources:
        branches.setdefault(source.version.partition(".")[0], []).append(source)
    return "".join(_stream(branch, found) for branch, found in branches.items())


def _stream(branch: str, sources: Sequence[Source]) -> str:
    artifacts = "".join(
        f"      - {one.name}-{source.epoch or 0}:{source.version}-{source.release}.noarch\n"
        for source in sources
        for one in source.packages
    )
    return (
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: nvidia-driver\n"
        f"  stream: {branch}-open\n  version: 20261101000000\n  context: nvidia\n"
        "  arch: x86_64\n  summary: in name only\n  description: In name only.\n"
        "  license:\n    module:\n    - MIT\n"
        f"  artifacts:\n    rpms:\n{artifacts}...\n"
    )
