"""The machines that an image is for: what is installed is chosen for them, not for this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from nodeproof.facts.accelerators import Accelerators, Gpu
from nodeproof.settings.model import LayerSettings, setting
from nodeproof.settings.types import grammar

PciId = Annotated[
    str, grammar(r"^10de:[0-9a-f]{4}$", "an NVIDIA device as lspci -n has it: 10de:2330", 9)
]
KernelRelease = Annotated[
    str,
    grammar(
        r"^[0-9]+\.[0-9]+\.[0-9]+([.+-][A-Za-z0-9_]+)*$",
        "a kernel as uname -r says: 6.12.73+deb13-amd64",
        64,
    ),
]


class Booting(LayerSettings):
    """The machines that an image is for, whoever made their accelerators."""

    gpus: list[str] = setting(
        ..., "their accelerators, each kind once, as lspci -n names them", min_length=1
    )
    kernel: KernelRelease | None = setting(
        None, "the kernel that they boot; none: the one that runs where the image is made"
    )
    secure_boot: bool = setting(False, "whether their firmware has Secure Boot on")


class Image(LayerSettings):
    """The machines that an image is for."""

    gpus: list[PciId] = setting(
        ..., "their GPUs, each kind once, as lspci -n names them: 10de:2330", min_length=1
    )
    nvswitches: int = setting(0, "how many NVSwitches they have", ge=0, le=64)
    kernel: KernelRelease | None = setting(
        None, "the kernel that they boot; none: the one that runs where the image is made"
    )
    secure_boot: bool = setting(False, "whether their firmware has Secure Boot on")


def imagined(image: Image, has: Accelerators) -> Accelerators:
    """Return what a machine that boots the image has; its packages are those that are here."""
    meant = booting(image.gpus, image.kernel, image.secure_boot, has)
    return meant.model_copy(update={"nvswitches": image.nvswitches})


def booting(
    gpus: Sequence[str], kernel: str | None, secure_boot: bool, has: Accelerators
) -> Accelerators:
    """Return what a machine with these GPUs, as lspci -n names them, has when it boots an image.

    A container has its host's kernel, which is not the image's: it stays unknown.
    """
    found = [
        Gpu(
            pci_address=f"0000:{place:02x}:00.0",
            vendor_id=ids.partition(":")[0],
            device_id=ids.partition(":")[2],
            class_code="030200",
        )
        for place, ids in enumerate(gpus, start=1)
    ]
    here = "" if has.platform == "container" else has.kernel
    return has.model_copy(
        update={
            "gpus": found,
            "nvswitches": 0,
            "kernel": kernel or here,
            "kernel_headers": has.kernel_headers and kernel in (None, here),
            "secure_boot": secure_boot,
            "platform": "bare" if has.platform in ("container", "vm") else has.platform,
            "nouveau_loaded": False,
        }
    )
