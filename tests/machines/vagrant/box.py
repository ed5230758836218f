"""A Vagrant box made here: Debian for BIOS machines, booted by GRUB from its own disk.

Like a published box it knows the user `vagrant`, who opens it with Vagrant's insecure key (which
Vagrant replaces at the first `up`), and it makes its host keys at its first boot.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tarfile
from pathlib import Path

from nodeproof.lab import accel, guest, image, requirements, sources, store

NAME = "nodeproof-test"
DISTRIBUTION = "debian-13"
DISK_GIB = 12  # sparse
MORE = ("systemd-resolved",)
DISK = Path(__file__).with_name("disk.sh")
SETUP = "usr/local/share/box/setup.sh"

FILES = {
    "etc/fstab": "/dev/vda1 / ext4 defaults 0 1\n",
    "etc/hostname": "vagrant\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 vagrant\n",
    f"etc/sudoers.d/90-vagrant:{0o440:o}": "vagrant ALL=(ALL:ALL) NOPASSWD: ALL\n",
    "etc/systemd/network/80-dhcp.network": "[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\n",
    "etc/systemd/system/ssh.service.d/host-keys.conf": (
        "[Service]\nExecStartPre=\nExecStartPre=ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n"
    ),
    # A small initramfs: unpacking a full one takes long where the processor is emulated.
    "etc/initramfs-tools/conf.d/box": "MODULES=list\n",
    "usr/share/initramfs-tools/modules.d/box": "virtio_pci\nvirtio_blk\next4\n",
    "boot/grub/grub.cfg": (
        "set root=(hd0,msdos1)\n"
        "linux /vmlinuz root=/dev/vda1 ro console=ttyS0 quiet\ninitrd /initrd.img\nboot\n"
    ),
    SETUP: """\
set -eu
useradd --create-home --shell /bin/bash vagrant
usermod --password '*' vagrant
install -D -m 600 -o vagrant -g vagrant "${0%/*}/key.pub" /home/vagrant/.ssh/authorized_keys
chown vagrant: /home/vagrant/.ssh
chmod 700 /home/vagrant/.ssh
rm -f /etc/ssh/ssh_host_*
systemctl --quiet enable systemd-networkd.service systemd-resolved.service ssh.service
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer man-db.timer
rm -r "${0%/*}"
""",
}


def build(key: Path) -> Path:
    """Return a folder with `test.box`, building it where the cache has none for these inputs.

    `key` is Vagrant's insecure private key.
    """
    wanted = image.recipe(DISTRIBUTION, MORE)
    public = _public(key)
    inputs = [wanted.key, public, Path(__file__).read_text(), DISK.read_text()]
    digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    folder = store.cache_dir() / "images" / f"{DISTRIBUTION}-{digest}-box"
    with image.building(folder) as scratch:
        if scratch:
            _build(wanted, public, scratch)
    return folder


def driver(folder: Path) -> str:
    """Return libvirt's driver for this host: kvm only where a guest really boots with it."""
    return "kvm" if accel.choose(folder / "kernel", folder / "initrd").kvm else "qemu"


def _public(key: Path) -> str:
    public = key.with_suffix(".pub")
    image.run(["sh", "-c", 'ssh-keygen -y -f "$0" > "$1"', str(key), str(public)], what="keygen")
    return public.read_text()


def _build(wanted: image.Recipe, public: str, scratch: Path) -> None:
    _bootstrap(wanted, public, scratch)
    inside = [] if os.geteuid() == 0 else image.NAMESPACE
    image.run([*inside, "sh", str(DISK), str(scratch), str(DISK_GIB)], what="disk.sh")
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GIB}
    (scratch / "metadata.json").write_text(json.dumps(metadata))
    (scratch / "Vagrantfile").write_text('Vagrant.configure("2") { }\n')
    with tarfile.open(scratch / "test.box", "w") as archive:
        for name in ("metadata.json", "Vagrantfile", "box.img"):
            archive.add(scratch / name, name)
    for name in ("root.tar", "box.img", "metadata.json", "Vagrantfile"):
        (scratch / name).unlink()


def _bootstrap(wanted: image.Recipe, public: str, scratch: Path) -> None:
    """Fetch and unpack Debian into `root.tar`, checking every signature."""
    files = {f"{Path(SETUP).parent}/key.pub": guest.GuestFile(public.encode())}
    for name, content in FILES.items():
        path, _, mode = name.partition(":")
        files[path] = guest.GuestFile(content.encode(), int(mode or "644", 8))
    overlay = scratch / "overlay.tar"
    overlay.write_bytes(guest.pack(files))
    listed = scratch / "box.sources"
    listed.write_text(wanted.sources)
    argv = [
        requirements.command("mmdebstrap"),
        f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        *("--variant=minbase", "--format=tar"),
        f"--architectures={wanted.architecture}",
        f"--include={','.join(wanted.packages)}",
        *(f"--aptopt={setting}" for setting in wanted.settings),
        f"--essential-hook=tar-in {shlex.quote(str(overlay))} /",
        f'--customize-hook=chroot "$1" sh /{SETUP}',
        *(sources.CODENAMES[DISTRIBUTION], str(scratch / "root.tar"), str(listed)),
    ]
    image.run(argv, what="mmdebstrap")
    overlay.unlink()
    listed.unlink()
