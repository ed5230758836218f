"""What may be asked of the intel layer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from typing_extensions import override

from nodeproof.catalog.resolve.asked import (
    KeyFingerprint,
    KeyUri,
    OfAccelerators,
    ReleaseWish,
    RepositoryUri,
)
from nodeproof.catalog.resolve.image import Booting
from nodeproof.settings import setting
from nodeproof.settings.types import UserName, grammar

GROUPS = ("render", "video")
"""Whose members may use GPUs: /dev/dri/renderD* is of render, displays are of video."""

PciId = Annotated[
    str,
    grammar(r"^(8086|1da3):[0-9a-f]{4}$", "an Intel GPU or a Gaudi as lspci -n has it: 8086:0bd5"),
]
Extra = Literal[
    "tools",
    "media",
    "development",
    "firmware-update",
    "compute",
    "containers",
    "qualification",
]


class Image(Booting):
    """The machines that an image is for."""

    gpus: list[PciId] = setting(
        ..., "their accelerators, each kind once, as lspci -n names them: 1da3:1060", min_length=1
    )


class Settings(OfAccelerators):
    """Settings of the intel layer."""

    release: ReleaseWish = setting(
        "latest", "which release for the accelerators there are: 2523 for GPUs, 1.24.1 for Gaudi"
    )
    driver: Literal["dkms", "kernel"] = setting(
        "dkms", "dkms: Intel's own, which it validates; kernel: the kernel's own"
    )
    extras: list[Extra] = setting(
        ["tools"], "what comes besides driver and runtime; which release has which, its page says"
    )
    downgrade: bool = setting(False, "whether older packages may take the place of newer ones")
    secure_boot: Literal["refuse", "mok"] = setting(
        "refuse", "mok: sign the module with a key of the machine's, to be enrolled at its console"
    )
    image: Image | None = setting(
        None, "the node becomes an image for other machines: nothing is asked of an accelerator"
    )
    repository_uri: RepositoryUri | None = setting(
        None, "a mirror of the repository; it is signed by its maker's key, or by repository_key"
    )
    repository_key: KeyFingerprint | None = setting(
        None, "fingerprint of the repository's key, where a mirror signs anew, or none is known"
    )
    repository_key_uri: KeyUri | None = setting(
        None, "where its key is; none: where the catalog says"
    )
    allow_kernel: bool = setting(
        False, "whether a kernel will do for which Intel does not support the release"
    )
    users: list[UserName] | None = setting(
        None, "the only members of render and video, who may use GPUs; none leaves these alone"
    )

    @override
    def asks(self) -> dict[str, Any]:
        """Return the release, and what is accepted."""
        asked: dict[str, Any] = {"intel": self.release}
        if self.allow_kernel:
            asked["allow_kernel"] = True
        if self.repository_key:
            asked["repository_key"] = self.repository_key
        return asked
