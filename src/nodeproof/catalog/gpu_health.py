"""What a healthy GPU is, by product: the table of Xids, clocks, links and peaks."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TABLE = Path(__file__).with_suffix(".toml")
SUPPORT = "support"
"""The class of codes that stand in no other."""

_Words = Annotated[str, Field(min_length=1)]
_Sources = Annotated[tuple[_Words, ...], Field(min_length=1)]
_Share = Annotated[float, Field(gt=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Model):
    """Where something was read."""

    title: _Words
    url: Annotated[str, Field(pattern=r"^https://\S+$")]
    looked_up: date
    published: str


class XidClass(_Model):
    """Codes that are answered in the same way."""

    codes: tuple[int, ...]
    fails: bool
    action: _Words
    sources: _Sources


class ClockEvents(_Model):
    """Names of nvidia-smi's reasons for slower clocks, without their prefix."""

    failing: tuple[_Words, ...]
    noted: tuple[_Words, ...]
    counted: tuple[_Words, ...]
    sources: _Sources


class RowRemapping(_Model):
    """Architectures, as nvidia-smi spells them, whose memory is mended by remapping rows."""

    architectures: tuple[_Words, ...]
    sources: _Sources


class Allowances(_Model):
    """Shares of a peak that the burn-in must reach."""

    memory: _Share
    matrix: _Share
    vector: _Share
    link: _Share


class Expectation(_Model):
    """What one product can do; what is none is not known, and not judged."""

    title: _Words
    devices: Annotated[tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{4}$")], ...], Field()]
    pcie_generation: Annotated[int, Field(ge=1, le=7)] | None = None
    pcie_width: Annotated[int, Field(ge=1, le=16)] = 16
    nvlinks: Annotated[int, Field(ge=1, le=36)] | None = None
    nvlink_gb_s: Annotated[float, Field(gt=0)] | None = None
    memory_gb_s: Annotated[float, Field(gt=0)] | None = None
    bf16_tflops: Annotated[float, Field(gt=0)] | None = None
    fp32_tflops: Annotated[float, Field(gt=0)] | None = None
    note: str = ""
    sources: _Sources


class GpuHealth(_Model):
    """The whole table."""

    sources: Mapping[str, Source]
    xids: Mapping[str, XidClass]
    xid_meanings: Mapping[int, _Words]
    clock_events: ClockEvents
    row_remapping: RowRemapping
    allowances: Allowances
    products: Mapping[str, Expectation]

    def xid(self, code: int) -> XidClass:
        """Return the class of a code; a code that no class has is for NVIDIA's support."""
        known = (one for one in self.xids.values() if code in one.codes)
        return next(known, self.xids[SUPPORT])

    def product(self, device_id: str) -> Expectation | None:
        """Return what is expected of a PCI device id of NVIDIA's; None where nothing is known."""
        found = (one for one in self.products.values() if device_id in one.devices)
        return next(found, None)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        codes = [code for one in self.xids.values() for code in one.codes]
        devices = [device for one in self.products.values() for device in one.devices]
        for kind, names in (("Xid", list(map(str, codes))), ("device", devices)):
            if twice := {one for one in names if names.count(one) > 1}:
                raise ValueError(f"{kind} {min(twice)}: stands in two classes or products")
        cited = [
            *(source for one in self.xids.values() for source in one.sources),
            *(source for one in self.products.values() for source in one.sources),
            *self.clock_events.sources,
            *self.row_remapping.sources,
        ]
        if unknown := set(cited) - set(self.sources):
            raise ValueError(f"source {min(unknown)}: is not in [sources]")
        if SUPPORT not in self.xids:
            raise ValueError(f"xids.{SUPPORT}: is missing")
        return self


@cache
def gpu_health() -> GpuHealth:
    """Return the table that comes with this version."""
    return GpuHealth.model_validate(tomllib.loads(TABLE.read_text(encoding="utf-8")))
