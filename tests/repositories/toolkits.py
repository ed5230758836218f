"""What the makers' repositories have of container toolkits, as the containers layer asks for it.

Names, relations, places of files and what scripts do are those of packaging/debian and deployments
in github.com/NVIDIA/nvidia-container-toolkit at v1.19.1 and v1.20.0, and of build and cmd/amd-ctk
in github.com/ROCm/container-toolkit at v1.2.0 and v1.3.0. Programs answer in the words of the
makers'; devices that they find are those that are in /dev.
"""

from __future__ import annotations

from tests.repositories.deb import Package

AMD_OLD, AMD_NEW = "1.2.0", "1.3.0"
NVIDIA_OLD, NVIDIA_NEW = "1.19.1", "1.20.0"

NVIDIA_CTK = r"""#!/bin/sh
case "$*" in
--version) printf 'NVIDIA Container Toolkit CLI version @VERSION@\ncommit: 0123456789abcdef\n' ;;
*config-file=*--in-place)
    file=${3#--config-file=}
    mkdir -p "${file%/*}"
    grep -qs '^mode' "$file" || printf '[nvidia-container-runtime]\nmode = "auto"\n' >"$file" ;;
"cdi generate"*)
    out=${NVIDIA_CTK_CDI_OUTPUT_FILE_PATH:-${3#--output=}}
    mkdir -p "${out%/*}"
    for node in /dev/nvidia[0-9]*; do [ -c "$node" ] && echo "path: $node"; done >"$out"
    ! gpus=$(nvidia-smi -L 2>/dev/null) || echo "$gpus" |
        sed -n 's/.*(UUID: \(.*\))/- name: \1/p' >>"$out" ;;
"system create-dev-char-symlinks"*)
    for node in /dev/nvidia*; do
        [ -c "$node" ] || continue
        set -- $(stat -c '%t %T' "$node")
        ln -sfn "$node" "/dev/char/$((0x$1)):$((0x$2))"
    done ;;
*) exit 2 ;;
esac
"""
REFRESH_SERVICE = """[Unit]
Description=Refresh NVIDIA CDI specification file
ConditionPathExists=/usr/bin/nvidia-smi
[Service]
Type=oneshot
Environment=NVIDIA_CTK_CDI_OUTPUT_FILE_PATH=/var/run/cdi/nvidia.yaml
ExecStart=/usr/bin/nvidia-ctk cdi generate
[Install]
WantedBy=multi-user.target
"""
REFRESH_PATH = """[Unit]
Description=Trigger CDI refresh on NVIDIA driver or toolkit install / upgrade events
[Path]
PathChanged=/usr/bin/nvidia-ctk
[Install]
WantedBy=multi-user.target
"""
CONFIGURE = (
    "/usr/bin/nvidia-ctk --quiet config --config-file=/etc/nvidia-container-runtime/config.toml "
    "--in-place\n"
)
ENABLE = """systemctl daemon-reload
for kind in path service; do systemctl enable --now nvidia-cdi-refresh.$kind; done
"""
MOVED = "".join(
    "dpkg-maintscript-helper rm_conffile /etc/systemd/system/nvidia-cdi-refresh."
    f'{kind} 1.20.0-1~ nvidia-container-toolkit-base -- "$@"\n'
    for kind in ("service", "path")
)


def nvidia(version: str) -> list[Package]:
    """Return NVIDIA's four packages in one version; units moved to /lib with 1.20."""
    full = f"{version}-1"
    at_etc = version < NVIDIA_NEW
    folder = "/etc/systemd/system" if at_etc else "/lib/systemd/system"
    units = {
        f"{folder}/nvidia-cdi-refresh.service": REFRESH_SERVICE,
        f"{folder}/nvidia-cdi-refresh.path": REFRESH_PATH,
    }
    postinst = CONFIGURE + (ENABLE if at_etc else MOVED)
    return [
        Package(
            "nvidia-container-toolkit",
            full,
            depends=f"nvidia-container-toolkit-base (= {full}), "
            f"libnvidia-container-tools (= {full}), libnvidia-container-tools (<< 2.0.0)",
            files={"/usr/bin/nvidia-container-runtime-hook": "#!/bin/sh\nexit 1\n"},
        ),
        Package(
            "nvidia-container-toolkit-base",
            full,
            files={
                "/usr/bin/nvidia-ctk": NVIDIA_CTK.replace("@VERSION@", version),
                "/usr/bin/nvidia-container-runtime": "#!/bin/sh\nexit 1\n",
                **units,
            },
            conffiles=tuple(units) if at_etc else (),
            scripts={"postinst": postinst}
            | ({} if at_etc else {"preinst": MOVED, "postrm": MOVED}),
        ),
        Package("libnvidia-container-tools", full, depends=f"libnvidia-container1 (>= {full})"),
        Package("libnvidia-container1", full),
    ]


AMD_CTK = r"""#!/bin/sh
spec() {
    [ -d /sys/module/amdgpu/drivers/ ] || { echo "amdgpu driver unavailable"; exit 1; }
    echo '{"cdiVersion": "0.6.0", "kind": "amd.com/gpu", "devices": ['
    for node in /dev/dri/renderD*; do echo "{\"name\": \"${node#/dev/dri/renderD}\"},"; done
    echo '{"name": "all"}]}'
}
case "$1 $2" in
"version "*) printf 'Version: v@VERSION@\nBuild Date: 2026-04-28\nGitCommit: 0123456\n' ;;
"cdi generate")
    out=${3#--output=}
    mkdir -p "${out%/*}"
    spec >"$out" || { cat "$out"; exit 1; }
    echo "Generated CDI spec: $out" ;;
"cdi validate")
    at=${3#--path=}
    echo "Validating CDI spec: $at"
    [ -e "$at" ] || { echo "failed to validate CDI spec: opening CDI spec file $at"; exit 1; }
    [ "$(cat "$at")" = "$(spec)" ] && echo "CDI spec is valid" ||
        printf 'CDI spec is invalid\nPlease regenerate CDI spec\n' ;;
"gpu-tracker init") ;;
*) exit 2 ;;
esac
"""
AMD_SCRIPTS = {
    "preinst": '[ "$1" != install ] && [ "$1" != upgrade ] || [ -d /sys/module/amdgpu/drivers/ ]\n',
    "postinst": "/usr/local/bin/amd-ctk gpu-tracker init || true\n",
    "prerm": """rm -rf /etc/cdi
[ -f /etc/docker/daemon.json ] || exit 0
out=$(jq 'del(.runtimes.amd) | del(.features.cdi)' /etc/docker/daemon.json)
echo "$out" >/etc/docker/daemon.json
echo "Updated the docker config file"
""",
}


def amd(version: str) -> Package:
    """Return AMD's package for Ubuntu 24.04 in one version."""
    return Package(
        "amd-container-toolkit",
        f"{version}~24.04",
        depends="jq",
        files={
            "/usr/local/bin/amd-ctk": AMD_CTK.replace("@VERSION@", version),
            "/usr/local/bin/amd-container-runtime": "#!/bin/sh\nexit 1\n",
        },
        scripts=AMD_SCRIPTS,
    )
