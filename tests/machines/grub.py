"""A lab's machine that GRUB boots, in place of QEMU's own loader.

QEMU starts GRUB as if it were a kernel (its lnxboot.img is made for that), and GRUB reads menu and
environment from the machine's disk, as it does on a machine of its own.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from nodeproof.lab import Machine, image, qemu, requirements

PACKAGES = ("grub2-common", "linux-image-amd64", "linux-image-cloud-amd64")
"""What the machine needs: GRUB's tools, and two kernels."""
IMAGES = Path("/usr/lib/grub/i386-pc")
MODULES = (
    *("biosdisk", "ext2", "normal", "linux", "configfile", "loadenv", "test", "echo", "true"),
    *("search", "search_fs_uuid", "gzio", "all_video", "minicmd", "serial", "terminal", "sleep"),
)
DEFAULT = """\
GRUB_DEFAULT=saved
GRUB_TIMEOUT=1
GRUB_TERMINAL=console
GRUB_CMDLINE_LINUX="rw console=ttyS0 net.ifnames=0 loglevel=4 panic=5"
"""


def install(machine: Machine) -> None:
    """Write GRUB's menu on the machine's disk, and an environment that holds nothing."""
    machine.ssh("sudo tee /etc/default/grub", stdin=DEFAULT)
    machine.ssh(
        "sudo mkdir -p /boot/grub && sudo update-grub && sudo grub-editenv - create && sync"
    )


def start(machine: Machine, folder: Path) -> None:
    """Shut the machine down and let GRUB boot it."""
    core, loader = folder / "core.img", folder / "grub.img"
    mkimage = requirements.command("grub-mkimage")
    argv = [mkimage, "-O", "i386-pc", "-o", str(core), "-p", "(hd0)/boot/grub", *MODULES]
    image.run(argv, what="grub-mkimage")
    loader.write_bytes((IMAGES / "lnxboot.img").read_bytes() + core.read_bytes())
    machine.down()
    machine.trust()
    argv = qemu.machine_argv(machine.folder, machine.spec)
    at = argv.index("-kernel")
    assert argv[at + 2 : at + 5 : 2] == ["-initrd", "-append"]
    argv[at : at + 6] = ["-kernel", str(loader)]
    subprocess.run(argv, cwd=machine.folder, check=True)
    machine.wait()
    machine.wait_booted()
