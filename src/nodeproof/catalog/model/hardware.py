"""Accelerators: what they are, and what their makers still drive."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nodeproof.catalog.model.base import Entry, Hex4, Id, Modules, Vendor
from nodeproof.catalog.versions import VersionText


class Architecture(Entry):
    """A generation of chips; of AMD's, the target that code is compiled for."""

    title: str
    vendor: Vendor
    capabilities: tuple[str, ...] = Field((), description="NVIDIA compute capabilities")
    chips: tuple[str, ...] = Field((), description="how code names of its chips begin, e.g. GH")
    modules: tuple[Modules, ...] = Field((), description="kernel modules that drive it, best first")
    first_branch: VersionText | None = None
    last_branch: VersionText | None = None
    first_cuda: VersionText | None = None
    last_cuda: VersionText | None = Field(None, description="a major means all of its minors")


class Product(Entry):
    """What PCI ids stand for."""

    title: str
    vendor: Vendor
    devices: Annotated[tuple[Hex4, ...], Field(min_length=1)]
    architecture: Id
    data_center: bool = Field(False, description="forward compatibility is for these only")
    fabric: Literal["none", "nvlink5", "rack"] = Field(
        "none", description="an NVLink fabric that does not show as NVSwitches on the PCI bus"
    )
    modules: tuple[Modules, ...] = Field((), description="where they differ from the generation's")
    driver: VersionText | None = Field(None, description="first driver that knows it")
    mig: Annotated[int, Field(ge=0, le=7)] = Field(0, description="most instances, 0 without MIG")
    mig_driver: VersionText | None = Field(None, description="first driver with MIG on it")


class Platform(Entry):
    """A kind of host where drivers are not installed as elsewhere."""

    title: str
    driver: Literal["never", "vendor-image", "host"] = Field(
        description="who brings the driver: nobody, the image's maker, or the host of a container"
    )
    detect: Annotated[tuple[str, ...], Field(min_length=1)]
    instead: str = Field(description="what to do there")
    never: tuple[str, ...] = Field(
        (), description="packages, or patterns of them, that must not be installed there"
    )


class JetPack(Entry):
    """A release for Jetson modules, which bring kernel, driver and CUDA as one."""

    l4t: VersionText
    boards: tuple[str, ...] = ()
    cuda: VersionText | None = None
