"""What NVIDIA's repository has of CUDA, as the cuda layer asks for it.

Modelled on what its packages say when they are installed: a toolkit's own package needs parts in at
least its release, the configuration of each release registers alternatives, and a package for
forward compatibility lands beside the toolkit and changes nothing by itself. What there is of each
part is a line of text.
"""

from __future__ import annotations

from tests.repositories.deb import Package

LIB = "/usr/lib/x86_64-linux-gnu"
NCCL = ("2.28.9-1+cuda12.9", "2.28.9-1+cuda13.0", "2.32.3-1+cuda13.4")
CUDNN = "9.26.0.51-1"

NVCC = """#!/bin/sh
echo 'nvcc: NVIDIA (R) Cuda compiler driver'
echo 'Cuda compilation tools, release {series}, V{parts}'
"""
SET = """echo 'Setting alternatives'
update-alternatives --install /usr/local/cuda cuda /usr/local/cuda-{series} {priority}
set -- /usr/local/cuda-{major} cuda-{major} /usr/local/cuda-{series} {priority}
update-alternatives --install "$@"
"""
UNSET = """update-alternatives --remove cuda /usr/local/cuda-{series}
update-alternatives --remove cuda-{major} /usr/local/cuda-{series}
"""


def repository() -> list[Package]:
    """Return three toolkits, and the libraries for them."""
    toolkits = [("12.9.1", "12.9.86"), ("13.1.1", "13.1.115"), ("13.4.1", "13.4.61")]
    return [
        *(one for release, parts in toolkits for one in toolkit(release, parts)),
        *(common("", "13.4.61-1")),
        *(one for major in (12, 13) for one in cudnn(major)),
        *(one for version in NCCL for one in nccl(version)),
    ]


def toolkit(release: str, parts: str) -> list[Package]:
    """Return a toolkit, with its parts in their own version."""
    series = release.rpartition(".")[0]
    major = series.partition(".")[0]
    end = series.replace(".", "-")
    whole, part = f"{release}-1", f"{parts}-1"
    home = f"/usr/local/cuda-{series}"
    fill = {"series": series, "major": major, "priority": series.replace(".", "")}
    return [
        Package(
            f"cuda-toolkit-{end}",
            whole,
            depends=f"cuda-compiler-{end} (>= {release}), cuda-libraries-{end} (>= {release})",
        ),
        Package(f"cuda-minimal-build-{end}", whole, depends=f"cuda-nvcc-{end} (>= {parts})"),
        Package(f"cuda-compiler-{end}", whole, depends=f"cuda-nvcc-{end} (>= {parts})"),
        Package(f"cuda-libraries-{end}", whole, depends=f"cuda-cudart-{end} (>= {parts})"),
        Package(
            f"cuda-nvcc-{end}",
            part,
            depends=f"cuda-cudart-{end} (>= {parts})",
            files={f"{home}/bin/nvcc": NVCC.format(series=series, parts=parts)},
        ),
        Package(
            f"cuda-cudart-{end}",
            part,
            depends=f"cuda-toolkit-{end}-config-common (>= {parts})",
            files={f"{home}/targets/x86_64-linux/lib/libcudart.so.{parts}": "a library\n"},
        ),
        Package(
            f"cuda-toolkit-{end}-config-common",
            part,
            depends=f"cuda-toolkit-{major}-config-common, cuda-toolkit-config-common",
            architecture="all",
            scripts={"postinst": SET.format(**fill), "prerm": UNSET.format(**fill)},
        ),
        *common(f"-{major}", part),
        Package(
            f"cuda-compat-{end}",
            "590.48.01-1",
            files={f"{home}/compat/libcuda.so.590.48.01": "a library\n"},
        ),
    ]


def common(major: str, version: str) -> list[Package]:
    """Return what tells the loader of the default toolkit, or of that of a major release."""
    path = f"/etc/ld.so.conf.d/{'988_cuda' if major else '000_cuda'}{major}.conf"
    return [
        Package(
            f"cuda-toolkit{major}-config-common",
            version,
            architecture="all",
            files={path: f"/usr/local/cuda{major}/targets/x86_64-linux/lib\n"},
            conffiles=(path,),
        )
    ]


def cudnn(major: int) -> list[Package]:
    """Return cuDNN for a major release."""
    runtime, headers = f"libcudnn9-cuda-{major}", f"libcudnn9-headers-cuda-{major}"
    return [
        Package(runtime, CUDNN, files={f"{LIB}/libcudnn.so.9": f"for {major}\n"}),
        Package(headers, CUDNN),
        Package(
            f"libcudnn9-dev-cuda-{major}",
            CUDNN,
            depends=f"{runtime} (= {CUDNN}), {headers} (= {CUDNN})",
        ),
    ]


def nccl(version: str) -> list[Package]:
    """Return a build of NCCL."""
    return [
        Package("libnccl2", version, files={f"{LIB}/libnccl.so.2": f"{version}\n"}),
        Package("libnccl-dev", version, depends=f"libnccl2 (= {version})"),
    ]
