"""What may be asked of the rocm layer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator
from typing_extensions import override

from nodeproof.catalog.resolve.asked import (
    AdvisoryId,
    KeyFingerprint,
    KeyUri,
    OfAccelerators,
    ReleaseWish,
)
from nodeproof.catalog.resolve.image import Booting
from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.types import UserName, grammar

UNIT = "nodeproof-rocm.service"
"""Divides the GPUs at boot as asked."""
GROUPS = ("render", "video")
"""Whose members may use GPUs: /dev/kfd and /dev/dri/renderD* are of render, displays of video."""
RETRY = "noretry"
"""The option of the amdgpu module that says what XNACK is unless a process asks otherwise."""
DRIVER = "driver"
"""What the source of the driver is called among `sources`."""


def _no_parent(address: str) -> str:
    if {".", ".."} & {*address.split("/")}:
        raise ValueError("must not contain . or .. as a part")
    return address


PciId = Annotated[
    str, grammar(r"^1002:[0-9a-f]{4}$", "an AMD device as lspci -n has it: 1002:74a1", 9)
]
SourceName = Annotated[
    str, grammar(r"^(driver|[0-9]+\.[0-9]+)$", "driver, or a release as the catalog has it: 7.14")
]
RepositoryUri = Annotated[
    str,
    grammar(
        r"^https?://[A-Za-z0-9][A-Za-z0-9.:-]*(/[A-Za-z0-9._~+-]+)+$",
        "an address without / at its end: https://mirror.example/rocm/debian13",
        1024,
    ),
    AfterValidator(_no_parent),
]
ModuleOption = Annotated[
    str, grammar(r"^[a-z][a-z0-9_]*$", "an option of the amdgpu module: vm_size", 64)
]
ModuleValue = Annotated[
    str, grammar(r"^[A-Za-z0-9]+$", "a value of letters and digits: 0, 1, 0x10", 64)
]


class Image(Booting):
    """The machines that an image is for."""

    gpus: list[PciId] = setting(
        ..., "their GPUs, each kind once, as lspci -n names them: 1002:74a1", min_length=1
    )


class Source(LayerSettings):
    """Where packages come from, where that is not AMD's own repository, or its key not known."""

    uri: RepositoryUri | None = setting(None, "a mirror of the repository")
    key: KeyFingerprint | None = setting(
        None, "fingerprint of its key, where a mirror signs anew, or the catalog knows none"
    )
    key_uri: KeyUri | None = setting(None, "where its key is; none: where the catalog says")


class Settings(OfAccelerators):
    """Settings of the rocm layer."""

    releases: list[ReleaseWish] = setting(
        ["latest"],
        "ROCm releases, side by side; /opt/rocm is the first, and its driver is installed",
        min_length=1,
    )
    driver: Literal["dkms", "kernel"] = setting(
        "dkms", "dkms: AMD's amdgpu-dkms, as the first release asks for; kernel: the kernel's own"
    )
    downgrade: bool = setting(False, "whether an older driver may take the place of a newer one")
    secure_boot: Literal["refuse", "mok"] = setting(
        "refuse", "mok: sign the module with a key of the machine's, to be enrolled at its console"
    )
    image: Image | None = setting(
        None, "the node becomes an image for other machines: nothing is started, or asked of a GPU"
    )
    sources: dict[SourceName, Source] = setting(
        {}, "where the driver, or a release, comes from otherwise than the catalog says"
    )
    allow_insecure: list[AdvisoryId] = setting(
        [], "advisories that you have read and accept, by id, e.g. amd-2025-66664"
    )
    allow_kernel: bool = setting(
        False, "whether a kernel will do for which AMD does not support the release"
    )
    users: list[UserName] | None = setting(
        None, "the only members of render and video, who may use GPUs; none leaves these alone"
    )
    xnack: bool | None = setting(
        None,
        "whether page faults of GPUs are retried unless a process asks otherwise (XNACK); "
        "none leaves it to the driver",
    )
    module_options: dict[ModuleOption, ModuleValue] = setting(
        {}, "other options of the amdgpu module, e.g. vm_size"
    )
    compute_partition: Literal["spx", "dpx", "tpx", "qpx", "cpx"] | None = setting(
        None, "into how many GPUs each one is divided; none leaves it alone"
    )
    memory_partition: Literal["nps1", "nps2", "nps4", "nps8"] | None = setting(
        None, "into how many parts each GPU's memory is divided; none leaves it alone"
    )

    @property
    def options(self) -> dict[str, str]:
        """All options of the amdgpu module, with their values."""
        retry = {} if self.xnack is None else {RETRY: str(int(not self.xnack))}
        return {**retry, **self.module_options}

    @property
    def partitions(self) -> dict[str, str]:
        """What is asked of partitions, by the names and in the words of the driver's files."""
        asked = {"compute": self.compute_partition, "memory": self.memory_partition}
        return {name: value.upper() for name, value in asked.items() if value is not None}

    def key(self, wish: str) -> str | None:
        """Return the key for a release, where the catalog knows none.

        A wish that is no release, as `latest`, has the key of the only release that has a source.
        """
        named = {name: one.key for name, one in self.sources.items() if name != DRIVER}
        alone = next(iter(named.values())) if len(named) == 1 else None
        return named.get(wish, alone)

    @override
    def asks(self) -> dict[str, Any]:
        """Return the first release, and what is accepted; other layers ask for keys of theirs."""
        asked: dict[str, Any] = {"rocm": self.releases[0], "allow_insecure": self.allow_insecure}
        if self.allow_kernel:
            asked["allow_kernel"] = True
        if key := self.key(self.releases[0]):
            asked["repository_key"] = key
        return asked

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.xnack is not None and RETRY in self.module_options:
            raise ValueError(f"{RETRY} in module_options is what xnack sets")
        return self
