"""What a machine booted, what it will boot, and why it should."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.facts.grub import Entry, Menu, menu
from nodeproof.uncounted import Selective

NOTES = "/run/nodeproof/reboot"
"""A file per change that takes effect at a boot only; /run is empty after one."""
TRYING = "nodeproof_trying"
"""In grubenv: the kernel that is being tried, from before the reboot until it has come up well."""
BEFORE = "nodeproof_saved"
"""In grubenv: what saved_entry was before the try, to be put back."""

# Where GRUB can read a file but not write it: it could not forget what is chosen for one boot.
_UNWRITABLE = ("btrfs", "zfs", "squashfs", "iso9660", "f2fs")
_COMMAND = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
one() { [ -r "$2" ] && { IFS= read -r v < "$2" || [ -n "$v" ]; } && say "$1" "$v"; }
say running "$(uname -r)"
one boot_id /proc/sys/kernel/random/boot_id
one machine_id /etc/machine-id
one cmdline /proc/cmdline
for at in /lib/modules/* /boot/vmlinuz-*; do
  [ -e "$at" ] || continue
  v=${at##*/} v=${v#vmlinuz-} has=
  { [ -s "/boot/vmlinuz-$v" ] || [ -s "/lib/modules/$v/vmlinuz" ]; } && has=image
  { [ -s "/boot/initrd.img-$v" ] || [ -s "/boot/initramfs-$v.img" ]; } && has="$has initrd"
  [ -s "/lib/modules/$v/modules.dep" ] && has="$has modules"
  say kernel "$v $has"
done
for at in /sys/firmware/efi /boot/loader /boot/efi/loader /efi/loader /boot/extlinux \
  /boot/syslinux /etc/lilo.conf /boot/firmware; do [ -e "$at" ] && say loader "$at"; done
for at in /vmlinuz /boot/vmlinuz; do [ -L "$at" ] && say link "$at $(readlink "$at")"; done
for at in /boot/grub /boot/grub2; do
  [ -f "$at/grub.cfg" ] || continue
  say grub "$at"
  sed -nE '/\{$|^[[:space:]]*(\}|linux|set default=)/s/^/cfg=/p' "$at/grub.cfg"
  [ -f "$at/grubenv" ] || continue
  say env ""
  sed -n '/^[^#]/s/^/env=/p' "$at/grubenv"
  say grub_on "$(findmnt -nro FSTYPE,SOURCE -T "$at" 2>/dev/null)"
  for tool in grub-editenv grub2-editenv; do
    command -v "$tool" >/dev/null 2>&1 && { say editor "$tool"; break; }; done
  break
done
[ -e /run/reboot-required ] && say required "$(tr '\n' ' ' 2>/dev/null </run/reboot-required.pkgs)"
for at in /run/nodeproof/reboot/*; do
  [ -f "$at" ] && { IFS= read -r v < "$at" || [ -n "$v" ] || v=${at##*/}; } && say note "$v"; done
true
"""


class Loader(StrEnum):
    """Who chooses the kernel."""

    GRUB = "grub"
    DIRECT = "direct"
    """The hypervisor brings it: the same one boots again, whatever is installed."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Kernel:
    """One installed kernel, and which of its parts are there."""

    version: str
    image: bool = False
    initrd: bool = False
    modules: bool = False

    @property
    def flavour(self) -> str:
        """What stands behind the version: cloud-amd64 of 6.12.117+deb13-cloud-amd64."""
        found = re.search(r"-([a-z].*)$", self.version)
        return found[1] if found else ""

    @property
    def order(self) -> tuple[int, ...]:
        """The numbers of the version, by which kernels of one flavour are ordered."""
        bare = self.version.removesuffix(f"-{self.flavour}")
        return tuple(int(number) for number in re.findall(r"\d+", bare))


@dataclass(frozen=True)
class Grub:
    """GRUB, where its menu is on this machine."""

    folder: str
    menu: Menu
    environment: dict[str, str] | None = None
    """What grubenv holds; None where there is no such file."""
    kept_on: str = ""
    """File system type and device of its folder."""
    editor: str = ""
    """The program that writes grubenv."""

    @property
    def writes(self) -> bool:
        """Whether GRUB itself can write grubenv, so that one boot's choice ends with that boot."""
        kind, _, device = self.kept_on.partition(" ")
        plain = device.startswith("/dev/") and not device.startswith(("/dev/mapper/", "/dev/md"))
        return plain and kind not in _UNWRITABLE and not re.match(r"/dev/dm-", device)


@dataclass(frozen=True)
class BootData(Selective):
    """One machine's boot: this one, and the next."""

    boot_id: str = ""
    machine_id: str = ""
    running: str = ""
    cmdline: str = ""
    loader: Loader = Loader.UNKNOWN
    kernels: tuple[Kernel, ...] = ()
    grub: Grub | None = None
    links: dict[str, str] = field(default_factory=dict)
    required: str | None = None
    """Packages that asked for a reboot; None where nobody did, empty where none is named."""
    notes: tuple[str, ...] = ()

    @property
    def tried(self) -> str:
        """The kernel that an earlier reboot was to try, while it has not come up well."""
        return ((self.grub and self.grub.environment) or {}).get(TRYING, "")

    @property
    def next(self) -> str:
        """The kernel that boots next; empty where that cannot be told."""
        if self.loader is Loader.DIRECT:
            return self.running
        if self.grub is None or self.loader is Loader.UNKNOWN:
            return ""
        environment = dict(self.grub.environment or {})
        if BEFORE in environment:  # a try that was interrupted; what it put aside still counts
            environment["saved_entry"] = environment[BEFORE]
        entry = self.grub.menu.chosen(environment)
        return self._version(entry) if entry else ""

    @property
    def candidates(self) -> tuple[str, ...]:
        """The kernels of which one boots next: one where it is known, else all installed."""
        installed = tuple(kernel.version for kernel in self.kernels if kernel.image)
        return (self.next,) if self.next else installed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the machine should be rebooted; empty where nothing asks for it."""
        found = list(self.notes)
        if self.required is not None:
            asked = " ".join(dict.fromkeys(self.required.split()))
            found.append(f"packages ask for it: {asked}" if asked else "the distribution asks")
        if self.next and self.next != self.running:
            found.append(f"kernel {self.next} boots next, {self.running} runs")
        if newer := self._newer():
            found.append(f"kernel {newer} is installed, {self.running} runs")
        return tuple(found)

    @override
    def counted(self) -> Self:
        """Leave all out: changes do not rest on it, and a boot moves it."""
        return type(self)()

    def kernel(self, version: str) -> Kernel:
        """Return an installed kernel; one without any part where it is not there."""
        found = (kernel for kernel in self.kernels if kernel.version == version)
        return next(found, Kernel(version))

    def entry(self, version: str) -> Entry | None:
        """Return GRUB's entry of a kernel; one with its own name before the menu's first."""
        entries = self.grub.menu.entries if self.grub else ()
        found = [one for one in entries if self._version(one) == version]
        return max(found, key=lambda one: len(one.path), default=None) if found else None

    def _newer(self) -> str:
        """Return a newer kernel of the same flavour, where it cannot be told what boots next."""
        if self.next:
            return ""
        now = Kernel(self.running)
        others = [k for k in self.kernels if k.image and k.flavour == now.flavour]
        newest = max(others, key=lambda kernel: kernel.order, default=now)
        return newest.version if newest.order > now.order else ""

    def _version(self, entry: Entry) -> str:
        path = entry.image
        path = self.links.get(path, self.links.get(f"/boot{path}", path))
        found = re.search(r"vmlinuz-(.+)$", path)
        return found[1] if found else ""


class Boot(FactBase[BootData]):
    """
    This boot and the next one.

    .. code:: python

        BootData(running="6.12.117+deb13-cloud-amd64", loader=Loader.DIRECT, ...)
    """

    called = "its boot"

    @override
    def command(self) -> str:
        """Return the script that prints ``key=value`` lines."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> BootData:
        """Return a machine that said nothing."""
        return BootData()

    @override
    def process(self, output: list[str]) -> BootData:
        """Parse the lines; most keys may stand several times."""
        said: dict[str, list[str]] = {}
        for line in output:
            key, _, value = line.partition("=")
            said.setdefault(key, []).append(value)
        kernels = [_kernel(line) for line in said.get("kernel", [])]
        links = (line.partition(" ") for line in said.get("link", []))
        grub = _grub(said)
        return BootData(
            **{
                key: said[key][-1]
                for key in ("boot_id", "machine_id", "running", "cmdline")
                if key in said
            },
            loader=_loader(said),
            kernels=tuple(k for k in dict.fromkeys(kernels) if k.image or k.initrd or k.modules),
            grub=grub,
            links={path: target for path, _, target in links},
            required=said["required"][-1].strip() if "required" in said else None,
            notes=tuple(said.get("note", [])),
        )


def _kernel(line: str) -> Kernel:
    version, *has = line.split()
    return Kernel(version, "image" in has, "initrd" in has, "modules" in has)


def _loader(said: dict[str, list[str]]) -> Loader:
    named = any("BOOT_IMAGE=" in line for line in said.get("cmdline", []))
    if named and "grub" in said:
        return Loader.GRUB
    if not named and "grub" not in said and "loader" not in said:
        return Loader.DIRECT
    return Loader.UNKNOWN


def _grub(said: dict[str, list[str]]) -> Grub | None:
    if "grub" not in said:
        return None
    pairs = (line.partition("=") for line in said.get("env", []) if line)
    return Grub(
        folder=said["grub"][-1],
        menu=menu(said.get("cfg", [])),
        environment={key: value for key, _, value in pairs} if "env" in said else None,
        kept_on="".join(said.get("grub_on", [])[-1:]),
        editor="".join(said.get("editor", [])[-1:]),
    )
