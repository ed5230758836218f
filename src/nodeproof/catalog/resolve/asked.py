"""What may be asked of accelerators; the settings of the layers that install them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, PrivateAttr
from typing_extensions import override

from nodeproof.catalog.resolve.image import Image
from nodeproof.catalog.resolve.spec import DRIVER, RELEASE, RELEASE_OR_NONE, a_specifier
from nodeproof.settings.model import LayerSettings, setting
from nodeproof.settings.types import grammar

DriverWish = Annotated[
    str,
    grammar(
        DRIVER,
        "lts, latest-production, latest, none, a branch (580), a version (580.178.04) or a "
        "specifier (>=580,<600)",
        64,
    ),
    AfterValidator(a_specifier),
]
ReleaseWish = Annotated[
    str,
    grammar(RELEASE, "latest, a release (13 or 13.0 or 13.0.2) or a specifier (>=12.8,<13)", 64),
    AfterValidator(a_specifier),
]
ReleaseOrNone = Annotated[
    str,
    grammar(
        RELEASE_OR_NONE,
        "none, latest, a release (7 or 7.14) or a specifier (>=6.4,<7)",
        64,
    ),
    AfterValidator(a_specifier),
]
AdvisoryId = Annotated[str, grammar(r"^[a-z0-9][a-z0-9-]*$", "the id of an advisory", 64)]
BranchName = Annotated[str, grammar(r"^[0-9]{3}$", "a driver branch such as 580", 3)]
KeyFingerprint = Annotated[
    str, grammar(r"^[0-9A-F]{40}$", "a fingerprint: 40 digits of 0-9 and A-F", 40)
]


def _no_parent(address: str) -> str:
    if {".", ".."} & {*address.split("/")}:
        raise ValueError("must not contain . or .. as a part")
    return address


RepositoryUri = Annotated[
    str,
    grammar(
        r"^https?://[A-Za-z0-9][A-Za-z0-9.:-]*(/[A-Za-z0-9._~+-]+)*/$",
        "an address that ends with /: https://mirror.example/debian13/x86_64/",
        1024,
    ),
    AfterValidator(_no_parent),
]
KeyUri = Annotated[
    str,
    grammar(
        r"^https?://[A-Za-z0-9][A-Za-z0-9.:-]*(/[A-Za-z0-9._~+-]+)*\.(asc|gpg|key|pub)$",
        "the address of a key file: .asc, .gpg, .key or .pub",
        1024,
    ),
    AfterValidator(_no_parent),
]


class OfAccelerators(LayerSettings):
    """Settings of a layer that asks something of accelerators; what fits, all layers decide."""

    _together: Asked | None = PrivateAttr(None)

    def asks(self) -> dict[str, Any]:
        """Return what this layer asks, by the keys of `Asked`."""
        raise NotImplementedError

    @property
    def asked(self) -> Asked:
        """What all layers of the node ask together; where nothing joined them, this one alone."""
        return self._together or joined([self])


class FromNvidia(OfAccelerators):
    """Where packages of NVIDIA's come from: one repository, whichever layers install them."""

    repository_uri: RepositoryUri | None = setting(
        None, "a mirror of NVIDIA's repository; it is signed by NVIDIA's key, or by repository_key"
    )
    repository_key: KeyFingerprint | None = setting(
        None, "fingerprint of the repository's key, where a mirror signs anew, or none is known"
    )
    repository_key_uri: KeyUri | None = setting(
        None, "where its key is; none: beside its lists, where NVIDIA has it"
    )

    @override
    def asks(self) -> dict[str, Any]:
        """Return what is said of the repository; what is not said, another layer may say."""
        said = {name: getattr(self, name) for name in FromNvidia.model_fields}
        return {name: value for name, value in said.items() if value is not None}


class DriverAsked(FromNvidia):
    """What is asked of NVIDIA's driver and of what belongs to it; the gpu layer asks no more."""

    driver: DriverWish = setting("lts", "which driver: a kind, a branch, a version, or none")
    modules: Literal["auto", "open", "proprietary"] = setting(
        "auto", "which kernel modules; auto takes what the GPU's generation is best driven by"
    )
    installed: Literal["refuse", "replace", "keep"] = setting(
        "refuse", "what becomes of a driver that came another way, or is newer than what is asked"
    )
    secure_boot: Literal["refuse", "mok"] = setting(
        "refuse", "mok: sign modules with a key of the machine's, to be enrolled at its console"
    )
    nouveau: Literal["off", "keep"] = setting(
        "off", "whether the kernel's own driver is switched off"
    )
    fabric_manager: Literal["auto", "off"] = setting(
        "auto", "auto: where there is an NVLink fabric"
    )
    peer_access: Literal["none", "dma-buf", "peermem"] = setting(
        "none", "how network adapters reach GPU memory"
    )
    gds: bool = setting(False, "GPUDirect Storage")
    gdrcopy: bool = setting(False, "GDRCopy")
    dcgm: bool = setting(False, "DCGM, which watches GPUs")
    allow_insecure: list[AdvisoryId] = setting(
        [], "advisories that you have read and accept, by id, e.g. nvidia-5861"
    )
    allow_end_of_life: list[BranchName] = setting([], "driver branches to use although they ended")
    allow_kernel: bool = setting(
        False, "whether a kernel will do that the vendor did not validate for the distribution"
    )
    image: Image | None = setting(
        None, "the node becomes an image for other machines: nothing is started, or asked of a GPU"
    )

    @override
    def asks(self) -> dict[str, Any]:
        """Return the driver's keys, without those that a layer adds."""
        own = DriverAsked.model_fields.keys() - FromNvidia.model_fields.keys()
        return {**super().asks(), **{name: getattr(self, name) for name in own}}


class Asked(DriverAsked):
    """What is asked of accelerators; a default means what most nodes want."""

    source: Literal["vendor", "distribution"] = setting(
        "vendor", "whose packages; a distribution's own are signed for Secure Boot where it has any"
    )
    compute_only: bool = setting(True, "leave out what only displays need")
    mig: bool = setting(False, "whether GPUs are to be divided (MIG)")
    cuda: list[ReleaseWish] = setting([], "CUDA toolkits, side by side")
    minor_version_compat: bool = setting(
        True, "whether a CUDA toolkit may be newer than the driver by its minor version"
    )
    forward_compat: bool = setting(
        False, "whether a newer CUDA may run on an older driver by a compatibility package"
    )
    container_toolkit: ReleaseOrNone = setting(
        "none", "the toolkit that gives containers their GPUs"
    )
    rocm: ReleaseOrNone = setting("none", "which ROCm release, on AMD's GPUs")
    intel: ReleaseOrNone = setting(
        "none", "which release of Intel's, on its data-center GPUs or on Gaudi"
    )


class Disagreement(ValueError):
    """Two layers of one node ask the same thing, and differently."""

    def __init__(self, key: str, values: Iterable[Any]) -> None:
        self.key = key
        self.values = tuple(values)
        super().__init__(f"{key}: {' and '.join(map(str, self.values))}")


def joined(layers: Iterable[LayerSettings]) -> Asked:
    """Return what layers ask of one node's accelerators, and let each of them know.

    Without the gpu layer no driver is asked for: what there is stays. What one accepts, all do.
    Raises Disagreement.
    """
    asking = [one for one in layers if isinstance(one, OfAccelerators)]
    found: dict[str, Any] = {"driver": "none"}
    said: dict[str, Any] = {}
    for one in asking:
        for key, value in one.asks().items():
            if isinstance(value, list):
                said[key] = [*dict.fromkeys([*said.get(key, []), *value])]
            elif key.startswith("allow_"):
                said[key] = said.get(key, False) or value
            elif said.setdefault(key, value) != value:
                raise Disagreement(key, (said[key], value))
    asked = Asked.model_validate(found | said)
    for one in asking:
        one._together = asked
    return asked
