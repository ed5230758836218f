"""Whether a machine would come back from a reboot; pure, so that every case can be a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nodeproof.facts.boot import BootData, Loader
from nodeproof.facts.bootable import BootableData
from nodeproof.facts.dkms import lacking


def examine(boot: BootData, bootable: Mapping[str, BootableData]) -> list[str]:
    """Return why the machine may not come back, each with what to do; empty where it will.

    + boot: this boot and the next
    + bootable: each kernel that may boot next, with what it has of what the machine needs
    """
    problems = []
    if not boot.candidates:
        problems.append("no kernel is installed in /boot, and what boots next cannot be told")
    if boot.tried and boot.tried == boot.next != boot.running:
        problems.append(
            f"kernel {boot.tried} did not come up when it was tried: mend it or remove it, then "
            f"run {boot.grub.editor if boot.grub else 'grub-editenv'} - unset nodeproof_trying"
        )
    for version in boot.candidates:
        found = bootable.get(version, BootableData())
        said = (*_parts(boot, version, found), *_modules(found), *_dkms(version, found))
        problems += [f"kernel {version}: {one}" for one in said]
    return problems


def _parts(boot: BootData, version: str, found: BootableData) -> Iterator[str]:
    kernel = boot.kernel(version)
    # A hypervisor brings kernel and initramfs; then neither need be here, but not half of them.
    brought = boot.loader is Loader.DIRECT and not kernel.image and not kernel.initrd
    if not kernel.image and not brought:
        yield "its image is not in /boot: install its package again"
    if not kernel.modules:
        yield "has no modules (modules.dep): install its package again, or run depmod"
    # Without a list of what the root needs, an initramfs is taken to be needed.
    needs = bool(found.modules) or not found.builtin
    if not kernel.initrd and not brought and needs:
        yield (
            "its initramfs is missing or empty: make it (update-initramfs -c -k VERSION, or "
            "dracut --kver VERSION)"
        )
    if kernel.initrd and found.listed == 0:
        yield "its initramfs cannot be read: make it anew"


def _modules(found: BootableData) -> Iterator[str]:
    for module in found.absent:
        yield f"does not have {module} at all, which the root file system ({found.root}) needs"
    if found.listed:
        for module in found.lacking:
            yield (
                f"its initramfs lacks {module}, which the root file system ({found.root}) needs: "
                "make it anew"
            )


def _dkms(version: str, found: BootableData) -> Iterator[str]:
    wanted = (one for one in found.dkms if f"{one.module}/{one.version}" not in found.excluded)
    names = dict.fromkeys(one.module for one in wanted)
    for name in names:
        if why := lacking(found.dkms, name, version, found.headers, found.failed):
            yield f"the DKMS module {name} is not built for it: {why}"
    if found.unsigned:
        yield (
            f"Secure Boot is on and nobody signed {', '.join(found.unsigned)}: sign with an "
            "enrolled key"
        )
