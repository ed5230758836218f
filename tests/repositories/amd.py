"""What AMD's repositories have for a node with Instinct GPUs, as the rocm layer asks for it.

Names, versions and layout are modelled on repo.radeon.com/amdgpu and repo.amd.com/rocm: a driver a
repository, releases with their series in names of packages and in /opt/rocm/core-SERIES, and
alternatives that amdrocm-core brings. Which package needs which is simplified.
"""

from __future__ import annotations

from tests.repositories.deb import Package

OLD, NEWER = "1:6.16.13.31400100-2364437.22.04", "1:6.19.4.31500000-2390945.22.04"
"""amdgpu-dkms of the drivers 31.40.1 and 31.50."""

_LINKS = (("rocm/core", "core", ""), *((f"rocm/{d}", f"rocm-{d}", f"/{d}") for d in ("bin", "lib")))
"""What amdrocm-core registers: link below /opt, name of the group, and where below the release."""


def firmware(version: str) -> str:
    """Return the version of a driver's firmware, which counts as the driver does: 31.40.1.0..."""
    code, _, build = version.rpartition(".22.04")[0].rpartition(".")[2].partition("-")
    numbers = ".".join(str(int(code[at : at + 2])) for at in (0, 2, 4, 6))
    return f"{numbers}.{code}-{build}.22.04"


def driver(version: str) -> list[Package]:
    """Return the packages of one driver."""
    bare = version.partition(":")[2].split(".22.04")[0]
    conf = f'PACKAGE_NAME="amdgpu"\nPACKAGE_VERSION="{bare}"\n'
    return [
        Package(
            "amdgpu-dkms",
            version,
            depends=f"amdgpu-dkms-firmware (= {firmware(version)})",
            architecture="all",
            files={f"/usr/src/amdgpu-{bare}/dkms.conf": conf},
        ),
        Package("amdgpu-dkms-firmware", firmware(version), architecture="all"),
        Package(
            "amdgpu-insecure-instinct-udev-rules",
            firmware(version),
            architecture="all",
            files={"/etc/udev/rules.d/70-amdgpu.rules": 'KERNEL=="kfd", MODE="0666"\n'},
        ),
        # Nobody asks for a desktop.
        Package("hostname", "99:1.0-1"),
    ]


def rocm(series: str, build: str) -> list[Package]:
    """Return the packages of one release."""
    version, prefix = f"{series}.0-{build}", f"/opt/rocm/core-{series}"
    same = f"(= {version})"
    score = int(series.replace(".", "").ljust(4, "0"))
    add = [
        f"update-alternatives --install /opt/{link} {name} {prefix}{below} {score}\n"
        for link, name, below in _LINKS
    ]
    remove = [f"update-alternatives --remove {name} {prefix}{below}\n" for _, name, below in _LINKS]
    return [
        Package(
            f"amdrocm{series}",
            version,
            depends=f"amdrocm-core{series} {same}, amdrocm-amdsmi{series} {same}",
            architecture="all",
        ),
        Package(
            f"amdrocm-core{series}",
            version,
            files={f"{prefix}/bin/rocminfo": f"{version}\n", f"{prefix}/lib/.info": f"{version}\n"},
            scripts={"postinst": "".join(add), "prerm": "".join(remove)},
        ),
        Package(
            f"amdrocm-amdsmi{series}",
            version,
            files={f"{prefix}/bin/amd-smi": "#!/bin/sh\nexit 1\n"},
        ),
    ]


def old_driver(version: str = "1:6.12.12.60404-2202139.22.04") -> list[Package]:
    """Return the packages of the driver of ROCm 6.4, whose firmware counts as the module does."""
    bare = version.partition(":")[2].split(".22.04")[0]
    conf = f'PACKAGE_NAME="amdgpu"\nPACKAGE_VERSION="{bare}"\n'
    files = {f"/usr/src/amdgpu-{bare}/dkms.conf": conf}
    needs = f"amdgpu-dkms-firmware (= {version})"
    return [
        Package("amdgpu-dkms", version, depends=needs, architecture="all", files=files),
        Package("amdgpu-dkms-firmware", version, architecture="all"),
        Package("libdrm-amdgpu-amdgpu1", "1:2.4.124.60404-2202139.22.04"),
    ]


def old_rocm(number: str) -> list[Package]:
    """Return the packages of a release of repo.radeon.com, with and without its number in names."""
    version, prefix = f"{number}.60404-129~22.04", f"/opt/rocm-{number}"
    link = {
        "postinst": f"update-alternatives --install /opt/rocm rocm {prefix} 60404\n",
        "prerm": f"update-alternatives --remove rocm {prefix}\n",
    }
    files = {f"{prefix}/bin/rocminfo": f"{version}\n"}
    core, smi = f"rocm-core{number}", f"amd-smi-lib{number}"
    runtime, drm = f"rocm-hip-runtime{number}", "libdrm-amdgpu-amdgpu1"
    return [
        Package(core, version, files=files, scripts=link),
        Package(smi, version, depends=core, files={f"{prefix}/bin/amd-smi": "#!/bin/sh\nexit 1\n"}),
        Package(runtime, version, depends=f"{core} (= {version}), {drm}"),
        Package(f"rocm{number}", version, depends=f"{runtime} (= {version}), {smi} (= {version})"),
        Package("rocm", version, depends=f"rocm{number}"),
    ]


def headers(kernel: str) -> Package:
    """Return the distribution's headers of a kernel, in name only."""
    return Package(f"linux-headers-{kernel}", "6.1.1-1")
