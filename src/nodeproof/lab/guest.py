"""What a test machine is made of: its packages, and the files put over Debian's own.

The image holds nothing of one machine: no host key, no hostname, no authorized key, no address.
A machine's own files (``identity.py``) come on its first boot as a systemd credential.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

USER = "ops"
UID = 1000
SETUP = "/usr/local/share/lab/setup.sh"
ARRIVED = "/var/lib/lab/identity"
# Debian's cloud image without cloud-init: a shell, sshd, AppArmor; no Python and no auditd.
PACKAGES = (
    "apparmor",
    "apt-utils",
    "ca-certificates",
    "cron",
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "logrotate",
    "nano",
    "netbase",
    "openssh-server",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
    "systemd-timesyncd",
    "tzdata",
    "udev",
)
# Recommended by ping, which is of no use to ordinary users without it.
ALSO = {"debian-13": ("linux-sysctl-defaults",)}
BOOT_PACKAGES = ("initramfs-tools", "zstd")

IDENTITY_UNIT = f"""\
[Unit]
Description=Take on this machine's identity
DefaultDependencies=no
ConditionPathExists=!{ARRIVED}
After=systemd-remount-fs.service
Before=sysinit.target systemd-networkd.service ssh.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=tar --extract --file=/run/credentials/@system/lab.identity --directory=/ --numeric-owner
ExecStart=hostname --file /etc/hostname

[Install]
WantedBy=sysinit.target
"""

# Timers that would take a slow machine's only processor at the wrong moment.
SETUP_SCRIPT = f"""\
set -eu
useradd --create-home --uid {UID} --shell /bin/bash {USER}
usermod --password '*' {USER}
usermod --password '*' root
rm -f /etc/ssh/ssh_host_* /etc/hostname /etc/resolv.conf
systemctl --quiet enable systemd-networkd.service ssh.service lab-identity.service
systemctl --quiet mask systemd-networkd-wait-online.service apt-daily.timer \\
    apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer man-db.timer dpkg-db-backup.timer \\
    systemd-tmpfiles-clean.timer
rm -rf "${{0%/*}}"
"""

FILES = {
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    f"etc/sudoers.d/90-lab:{0o440:o}": f"{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n",
    "etc/systemd/system/lab-identity.service": IDENTITY_UNIT,
    # A small initramfs: unpacking a full one takes seconds where the processor is emulated.
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\n",
    "usr/share/initramfs-tools/modules.d/lab": "virtio_pci\nvirtio_blk\next4\n",
    SETUP.lstrip("/"): SETUP_SCRIPT,
}


@dataclass(frozen=True)
class GuestFile:
    """One file of a guest: its content, mode and owner (user and group alike)."""

    content: bytes
    mode: int = 0o644
    owner: int = 0


def image_files() -> dict[str, GuestFile]:
    """Return the files of every image, by path relative to the root."""
    files = {}
    for name, content in FILES.items():
        path, _, mode = name.partition(":")
        files[path] = GuestFile(content.encode(), int(mode or "644", 8))
    return files


def container_files() -> dict[str, GuestFile]:
    """Return what a container node has over the same image: no disk, and nobody at a console."""
    # An empty unit file masks the unit; see systemctl(1).
    return {"etc/fstab": GuestFile(b""), "etc/systemd/system/console-getty.service": GuestFile(b"")}


def pack(files: Mapping[str, GuestFile], folders: Mapping[str, GuestFile] | None = None) -> bytes:
    """Return a tar archive of ``files``, after ``folders`` whose mode and owner matter."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, folder in (folders or {}).items():
            entry = _entry(path, folder)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for path, file in files.items():
            entry = _entry(path, file)
            entry.size = len(file.content)
            archive.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()


def _entry(path: str, file: GuestFile) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode = file.mode
    entry.uid = entry.gid = file.owner
    return entry
