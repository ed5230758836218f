"""What a machine is: distribution, kernel, hardware sizes, security modules."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.facts.image_based import FIND_IMAGE
from nodeproof.uncounted import Uncounted

# One command for everything; each line is `key=value`, and a line is missing where the machine
# cannot answer. Paths are read with shell builtins where they can be: forks are slow on a VM.
_COMMAND = (
    r"""
. /etc/os-release 2>/dev/null
say() { printf '%s=%s\n' "$1" "$2"; }
one() { [ -r "$2" ] && { IFS= read -r v < "$2" || [ -n "$v" ]; } && say "$1" "$v"; }
say os_id "$ID"; say os_like "$ID_LIKE"; say os_version "$VERSION_ID"
say os_codename "$VERSION_CODENAME"; say os_name "$PRETTY_NAME"
say kernel "$(uname -r)"; say architecture "$(uname -m)"; say hostname "$(uname -n)"
say uid "$(id -u)"; say cpus "$(getconf _NPROCESSORS_ONLN)"
while read -r k v _; do case $k in MemTotal:) say memory_kb "$v";; esac; done < /proc/meminfo
say init "$(cat /proc/1/comm)"
say virtualization "$(systemd-detect-virt 2>/dev/null)"
one boot_id /proc/sys/kernel/random/boot_id
one machine_id /etc/machine-id
one lsm /sys/kernel/security/lsm
one apparmor /sys/module/apparmor/parameters/enabled
one selinux /sys/fs/selinux/enforce
one cmdline /proc/cmdline
[ -e /sys/fs/cgroup/cgroup.controllers ] && say cgroup 2 || say cgroup 1
[ -d /sys/firmware/efi ] && say firmware efi || say firmware bios
one vendor /sys/class/dmi/id/sys_vendor
one product /sys/class/dmi/id/product_name
say login_user "${SUDO_USER:-$(id -un)}"
df -Pk / /var /boot 2>/dev/null | while read -r _ size _ free _ mount; do
  case $mount in /*) say disk "$mount $size $free";; esac; done
"""
    + FIND_IMAGE
    + """[ -z "$image" ] || say image "$image"
"""
)


CONTAINERS = ("systemd-nspawn", "lxc", "lxc-libvirt", "docker", "podman", "openvz", "proot")
"""What systemd-detect-virt says of containers; source: systemd-detect-virt(1)."""


class Disk(BaseModel):
    """One file system, sizes in KiB."""

    model_config = ConfigDict(frozen=True)

    mount: str
    size_kb: Annotated[int, Uncounted("on ZFS and Btrfs it moves with what is free")]
    free_kb: Annotated[int, Uncounted("every log line moves it")]


class NodeFacts(BaseModel):
    """What `nodeproof inspect` prints; frozen, read once per run."""

    model_config = ConfigDict(frozen=True)

    os_id: str = Field("", description="ID of os-release, e.g. debian")
    os_like: str = ""
    os_version: str = Field("", description="VERSION_ID of os-release, e.g. 13")
    os_codename: str = ""
    os_name: str = ""
    kernel: str = ""
    architecture: str = Field("", description="as uname -m says")
    hostname: str = ""
    uid: int = Field(-1, description="who commands run as; 0 is needed")
    login_user: str = Field("", description="who logged in, before sudo")
    cpus: int = 0
    memory_kb: Annotated[int, Uncounted("a balloon moves it, and another boot a little")] = 0
    init: str = ""
    virtualization: str = Field("", description="as systemd-detect-virt says; none on hardware")
    boot_id: Annotated[str, Uncounted("a node that was rebooted may be as it was")] = ""
    machine_id: str = ""
    lsm: str = Field("", description="active Linux security modules, comma separated")
    apparmor: bool = False
    selinux: str = Field("", description="1 enforcing, 0 permissive, empty without SELinux")
    cmdline: str = ""
    cgroup: int = 0
    firmware: str = ""
    vendor: str = ""
    product: str = ""
    image: str = Field("", description="what shows that the system is an image: ostree...")
    disks: tuple[Disk, ...] = ()

    @property
    def is_container(self) -> bool:
        """Whether it has its host's kernel and clock."""
        return self.virtualization in CONTAINERS


class Node(FactBase[NodeFacts]):
    """
    The machine itself; nothing in it changes while a deploy runs, so it may steer ``if``.

    .. code:: python

        NodeFacts(os_id="debian", os_version="13", kernel="6.12.117-amd64", uid=0, ...)
    """

    called = "the machine"

    @override
    def command(self) -> str:
        """Return the script that prints ``key=value`` lines."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> NodeFacts:
        """Return facts of a machine that said nothing."""
        return NodeFacts()

    @override
    def process(self, output: list[str]) -> NodeFacts:
        """Parse the lines; `disk` may stand several times (once per distinct mount)."""
        values: dict[str, Any] = {}
        disks: dict[str, Disk] = {}
        for line in output:
            key, _, value = line.partition("=")
            if key == "disk":
                mount, size, free = value.split()
                disks[mount] = Disk(mount=mount, size_kb=int(size), free_kb=int(free))
            elif key == "apparmor":
                values[key] = value == "Y"
            elif key in NodeFacts.model_fields:
                values[key] = value
        return NodeFacts(disks=tuple(disks.values()), **values)
