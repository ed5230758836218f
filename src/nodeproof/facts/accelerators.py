"""What a node has of accelerators, and what software for them is on it: the shape of the facts.

The models alone, without a host: `facts/gpu.py` fills them on nodes, the catalog's resolver reads
them, and a file of them answers without any node.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Hex4 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}$")]

Platform = Literal["bare", "vm", "wsl2", "jetson", "container", "image-based"]
"""What kind of host it is, as far as drivers go; `image-based` is ostree, Ubuntu Core and alike."""

Origin = Literal["vendor-repository", "distribution", "runfile", "unknown"]
"""Where an installed driver came from; `runfile` is NVIDIA's self-extracting installer."""

Flavour = Literal["open", "proprietary", "unknown"]
"""Which kernel modules: /proc/driver/nvidia/version says "Open Kernel Module" of the open ones."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gpu(_Fact):
    """One display or processing accelerator on the PCI bus, as /sys/bus/pci/devices has it."""

    pci_address: str = Field(description="domain:bus:device.function, e.g. 0000:3b:00.0")
    vendor_id: Hex4 = Field(description="four lower-case hexadecimal digits, e.g. 10de")
    device_id: Hex4 = Field(description="four lower-case hexadecimal digits, e.g. 2335")
    subsystem_id: str = Field("", description="vendor:device of the subsystem, e.g. 10de:18be")
    class_code: str = Field("", description="six hexadecimal digits, e.g. 030200")
    driver_in_use: str | None = Field(None, description="kernel driver bound to it, e.g. nouveau")
    name: str | None = Field(None, description="as the machine names it; for people, not rules")


class InstalledDriver(_Fact):
    """The NVIDIA driver that is on the node, whether or not it is loaded."""

    version: str = Field(description="e.g. 580.178.04")
    origin: Origin = "unknown"
    flavour: Flavour = "unknown"
    package: str | None = Field(None, description="the package that brought the kernel modules")
    loaded: bool = False


class DkmsModule(_Fact):
    """One line of `dkms status`."""

    name: str
    version: str
    kernel: str = Field("", description="empty where it is added but built for no kernel")
    state: str = Field(description="added, built or installed, as dkms says")


class Accelerators(_Fact):
    """Everything about accelerators that choices rest on."""

    gpus: list[Gpu] = Field(default_factory=list)
    nvswitches: int = Field(
        0, description="entries of /proc/driver/nvidia-nvswitch/devices, or PCI"
    )
    driver: InstalledDriver | None = None
    secure_boot: bool | None = Field(None, description="none where it could not be read")
    kernel: str = Field("", description="as uname -r says")
    kernel_headers: bool = Field(False, description="whether /lib/modules/KERNEL/build is there")
    arch: str = Field("", description="as uname -m says, e.g. x86_64 or aarch64")
    platform: Platform = "bare"
    l4t: str = Field("", description="Jetson Linux, e.g. 36.4.3; empty on other platforms")
    nouveau_loaded: bool = False
    cuda_toolkits: list[str] = Field(default_factory=list, description="versions, e.g. 13.0.2")
    container_toolkits: dict[str, str] = Field(
        default_factory=dict, description="package to version, e.g. nvidia-container-toolkit"
    )
    dkms: list[DkmsModule] = Field(default_factory=list)
    held: list[str] = Field(default_factory=list, description="packages on hold, sorted")
    managed: bool = Field(
        False, description="whether nodeproof installs the driver here, so that holds are its own"
    )
    preinstalled: str = Field(
        "", description="the stack that came with its image, e.g. an AWS Deep Learning AMI"
    )
