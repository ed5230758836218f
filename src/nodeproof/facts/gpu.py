"""What a node has of accelerators, read in one command that needs no vendor's tool."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.facts.accelerators import (
    Accelerators,
    DkmsModule,
    Platform,
)
from nodeproof.facts.dkms import dkms_line
from nodeproof.facts.driver import FIND_MODULE, installed_driver
from nodeproof.facts.image_based import FIND_IMAGE
from nodeproof.facts.node import CONTAINERS
from nodeproof.facts.pci import gpus, nvswitches
from nodeproof.facts.preinstalled import FIND_STACK

# One command; each line is `key=value`. Values of /sys are read by the shell itself: a node with
# eight GPUs has hundreds of PCI devices. Virtual functions (physfn) belong to guests, not here.
# A file of the kernel's that is there may still refuse to be read.
_COMMAND = (
    r"""
say() { printf '%s=%s\n' "$1" "$2"; }
get() { v=; { [ -r "$1" ] && IFS= read -r v <"$1"; } 2>/dev/null; }
k=$(uname -r); say kernel "$k"; say arch "$(uname -m)"
[ -d "/lib/modules/$k/build/" ] && say headers yes
[ -d /sys/module/nouveau ] && say nouveau yes
"""
    + FIND_IMAGE
    + r"""[ -z "$image" ] || say image "$image"
{ [ -e /etc/nv_tegra_release ] || tr '\0' '\n' </proc/device-tree/compatible |
  grep -q '^nvidia,tegra'; } 2>/dev/null && say jetson yes
get /etc/nv_tegra_release; [ -n "$v" ] && say l4t "$v"
if [ -e /dev/dxg ] || [ -e /usr/lib/wsl/lib ]; then say wsl "$k"; fi
if command -v systemd-detect-virt >/dev/null 2>&1; then
  say virt "$(systemd-detect-virt 2>/dev/null)"
elif [ -e /.dockerenv ]; then say virt docker
elif [ -e /run/.containerenv ]; then say virt podman
elif grep -q '^flags.* hypervisor' /proc/cpuinfo 2>/dev/null; then say virt vm-other
else say virt unknown; fi
efi=/sys/firmware/efi sb=$efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
if [ ! -d $efi ]; then say firmware bios
elif [ -e $sb ]; then say secure_boot "$(od -An -tu1 -j4 -N1 $sb 2>/dev/null | tr -d ' ')"
elif [ -n "$(ls $efi/efivars 2>/dev/null)" ]; then say secure_boot 0; fi
wanted= nvidia=
for d in /sys/bus/pci/devices/*; do
  get "$d/vendor"; vendor=${v#0x}
  case $vendor in 10de|1002|8086|1da3|1ae0) ;; *) continue;; esac
  get "$d/class"; class=${v#0x} at=${d##*/}
  [ "$vendor" = 10de ] && nvidia=yes
  case $vendor:$class in
    10de:0680*) get "$d/device"; say nvswitch "${v#0x} $at"; continue;;
    1ae0:*|*:03*|*:12*) ;;
    *) continue;; esac
  [ -e "$d/physfn" ] && continue
  get "$d/device"; device=${v#0x}
  get "$d/subsystem_vendor"; sub=${v#0x}; get "$d/subsystem_device"; sub=$sub:${v#0x}
  driver=-; [ -e "$d/driver" ] && driver=$(readlink "$d/driver")
  say pci "$at $vendor $device $sub $class ${driver##*/}"
  case " $wanted " in *" $vendor$device "*) ;; *) wanted="$wanted $vendor$device";; esac
done
for i in /usr/share/misc/pci.ids /usr/share/hwdata/pci.ids; do
  [ -n "$wanted" ] && [ -r "$i" ] || continue
  awk -v wanted="$wanted " '/^[0-9a-f]/ {v = substr($0, 1, 4)}
    /^C / {exit} /^\t[0-9a-f]/ {d = substr($0, 2, 4); if (index(wanted, " " v d " "))
    print "pci_name=" v " " d " " substr($0, 8)}' "$i"
  break
done
for d in /proc/driver/nvidia-nvswitch/devices/*; do
  [ -e "$d" ] && say nvswitch_proc "${d##*/}"; done
if [ -n "$nvidia" ]; then
  for d in /sys/class/infiniband/*/device/vpd; do
    [ -r "$d" ] && grep -q SW_MNG "$d" 2>/dev/null && say nvlink5 "$d"; done
fi
for i in /proc/driver/nvidia/gpus/*/information; do
  [ -r "$i" ] || continue; at=${i%/*}
  while IFS=: read -r a b; do case $a in Model) say model "${at##*/} $b";; esac; done <"$i"
done
[ -r /proc/driver/nvidia/version ] && sed 's/^/nvrm=/' /proc/driver/nvidia/version
for i in /usr/bin/nvidia-uninstall /usr/bin/nvidia-installer; do
  [ -e $i ] && [ ! -L $i ] && say installer $i; done
"""
    + FIND_MODULE
    + r"""if [ -n "$p" ]; then
  modinfo "$p" 2>/dev/null | sed -nE 's/^(version|license): +/modinfo=\1 /p'
fi
for d in /usr/src/nvidia-[a-z]*[0-9]* /usr/src/nvidia-[0-9]*; do
  [ -r "$d/dkms.conf" ] && say source "$d"; done
command -v dkms >/dev/null 2>&1 && dkms status 2>/dev/null | sed 's/^/dkms=/'
for i in /usr/local/cuda-*/version.json /usr/local/cuda-*/version.txt /opt/cuda/version.json; do
  [ -r "$i" ] && say cuda "$(tr -d '\n' <"$i")"; done
stack='nvidia|cuda|nvlsm|nvlink|libnv|amdgpu|rocm|amd-container|habanalabs|datacenter-gpu'
owner=
if command -v dpkg-query >/dev/null 2>&1; then
  dpkg-query -W -f '${db:Status-Want} ${db:Status-Status} ${Package} ${Version}\n' 2>/dev/null |
    grep -E "^(hold |[a-z]+ installed ($stack|[a-z-]*($stack)))" | sed 's/^/deb=/'
  for i in ${p:+"$p" "/usr$p"} /usr/src/nvidia-*/dkms.conf; do
    [ -e "$i" ] && o=$(dpkg-query -S "$i" 2>/dev/null) &&
      owner="${owner:-${o%%:*}}" && say owner "$i ${o%%:*}"; done
  [ -n "$owner" ] || owner=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
    sed -nE '/pinning|assistant/d
      s/^installed (nvidia-(dkms|kernel|driver|headless)[-a-z0-9]*)$/\1/p' | head -n 1)
  if [ -n "$owner" ]; then
    dpkg-query -W -f 'maintainer=${Package} ${Maintainer}\n' "$owner" 2>/dev/null
    apt-cache policy "$owner" 2>/dev/null | sed 's/^/policy=/'
    apt-cache policy 2>/dev/null | sed 's/^/index=/'
  fi
elif command -v rpm >/dev/null 2>&1; then
  rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\n' 2>/dev/null | grep -E "$stack" | sed 's/^/rpm=/'
  for i in ${p:+"$p" "/usr$p"} /usr/src/nvidia-*/dkms.conf; do
    [ -e "$i" ] && o=$(rpm -qf --qf '%{NAME}' "$i" 2>/dev/null) &&
      owner=${owner:-$o} && say owner "$i $o"; done
  [ -n "$owner" ] || owner=$(rpm -qa --qf '%{NAME}\n' 2>/dev/null |
    grep -E '^(kmod-nvidia|nvidia-driver(-libs)?$|akmod-nvidia)' | head -n 1)
  if [ -n "$owner" ]; then
    rpm -q --qf 'maintainer=%{NAME} %{VENDOR}\n' "$owner" 2>/dev/null
    dnf -C -q repoquery --installed --qf 'from_repo=%{name} %{from_repo}\n' "$owner" 2>/dev/null
  fi
  for i in /etc/dnf/plugins/versionlock.list /etc/yum/pluginconf.d/versionlock.list; do
    [ -r "$i" ] && sed -nE 's/^([^#! ].*)/lock=\1/p' "$i"; done
  [ -r /etc/dnf/versionlock.toml ] &&
    sed -nE 's/^ *name *= *"([^"]+)".*/lock_name=\1/p' /etc/dnf/versionlock.toml
fi
for i in /etc/apt/sources.list.d/nodeproof-cuda.sources /etc/yum.repos.d/nodeproof-cuda.repo; do
  [ -e "$i" ] && say managed "$i"; done
"""
    + FIND_STACK
    + "true\n"
)

_TOOLKITS = re.compile(
    r"(nvidia-container-(toolkit(-base)?|runtime)|libnvidia-container(1|-tools)|nvidia-docker2"
    r"|amd-container-toolkit|habanalabs-container-runtime)"
)
_LOCKED = re.compile(r"(?P<name>.+?)-(\d+:)?[^-]+-[^-]+")


class Gpus(FactBase[Accelerators]):
    """
    Accelerators on the PCI bus, and the software for them that is installed or loaded.

    .. code:: python

        Accelerators(gpus=[Gpu(pci_address="0000:18:00.0", vendor_id="10de", ...)], platform="bare")
    """

    called = "the accelerators"

    @override
    def command(self) -> str:
        """Return the script that prints ``key=value`` lines."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> Accelerators:
        """Return a machine that said nothing."""
        return Accelerators()

    @override
    def process(self, output: list[str]) -> Accelerators:
        """Parse the lines; most keys may stand several times."""
        said: dict[str, list[str]] = {}
        for line in output:
            key, _, value = line.partition("=")
            said.setdefault(key, []).append(value)
        platform = _platform(said)
        return Accelerators(
            gpus=gpus(said),
            nvswitches=nvswitches(said),
            driver=installed_driver(said),
            secure_boot=_secure_boot(said, platform),
            kernel=_one(said, "kernel"),
            kernel_headers="headers" in said,
            arch=_one(said, "arch"),
            platform=platform,
            l4t=_l4t(_one(said, "l4t")),
            nouveau_loaded="nouveau" in said,
            cuda_toolkits=sorted(
                filter(None, map(_cuda, said.get("cuda", ()))),
                key=lambda version: [int(part) for part in version.split(".")],
            ),
            container_toolkits={
                name: version for name, version in packages(said) if _TOOLKITS.fullmatch(name)
            },
            dkms=list(_dkms(said.get("dkms", ()))),
            held=_held(said),
            managed="managed" in said,
            preinstalled=_one(said, "preinstalled"),
        )


def packages(said: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """Return name and version of the installed packages that the node named."""
    debs = [line.split() for line in said.get("deb", ())]
    found = [(word[2], word[3]) for word in debs if len(word) == 4 and word[1] == "installed"]
    rpms = [line.split() for line in said.get("rpm", ())]
    return sorted({*found, *((word[0], word[1]) for word in rpms if len(word) == 2)})


def _one(said: Mapping[str, list[str]], key: str) -> str:
    return said.get(key, [""])[-1]


def _platform(said: Mapping[str, list[str]]) -> Platform:
    virt = _one(said, "virt")
    if virt in CONTAINERS:
        return "container"
    if virt == "wsl" or "microsoft" in _one(said, "wsl").lower():
        return "wsl2"
    if "jetson" in said:
        return "jetson"
    if "image" in said:
        return "image-based"
    return "bare" if virt in ("none", "unknown", "") else "vm"


def _l4t(line: str) -> str:
    """Return the release of Jetson Linux, as NVIDIA writes it: R36, REVISION 4.0 is 36.4."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([0-9.]+)", line)
    return f"{found[1]}.{found[2]}".removesuffix(".0") if found else ""


def _secure_boot(said: Mapping[str, list[str]], platform: Platform) -> bool | None:
    """Tell whether the firmware enforces signatures; a container does not see its host's."""
    state = _one(said, "secure_boot")
    if state in ("0", "1"):
        return state == "1"
    return False if "firmware" in said and platform != "container" else None


def _cuda(text: str) -> str:
    """Return the version in a toolkit's version file; empty where it has none."""
    if text.lstrip().startswith("{"):
        try:
            text = json.loads(text)["cuda"]["version"]
        except (ValueError, KeyError, TypeError):
            return ""
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found[0] if found else ""


def _dkms(lines: Iterable[str]) -> Iterable[DkmsModule]:
    for one in filter(None, map(dkms_line, lines)):
        yield DkmsModule(name=one.module, version=one.version, kernel=one.kernel, state=one.state)


def _held(said: Mapping[str, list[str]]) -> list[str]:
    debs = [line.split() for line in said.get("deb", ())]
    names = {word[2] for word in debs if len(word) >= 3 and word[0] == "hold"}
    for line in said.get("lock", ()):
        found = _LOCKED.fullmatch(line.strip())
        names.add(found["name"] if found and "*" not in found["name"] else line.strip())
    return sorted(names | set(said.get("lock_name", ())))
