"""What a resolver answers: a choice with its reasons, or a refusal with a way out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nodeproof.catalog.model.base import Modules


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Answer):
    """One link of the chain: which rule says what, and where that was read."""

    rule: str
    text: str
    sources: tuple[str, ...] = ()


class Place(_Answer):
    """Where packages come from, and what proves it."""

    repository: str = Field(description="id in the catalog; `distribution` for its own archive")
    uri: str = ""
    fingerprint: str = ""
    key_sha256: str = ""
    suite: str = Field("", description="where the repository has several, and one is meant")


class DriverChoice(_Answer):
    """The driver, and how it gets there."""

    version: str
    branch: str
    modules: Modules
    origin: Literal["vendor", "distribution", "kept"]
    place: Place | None = Field(None, description="none where it is kept as it is")
    packages: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    prerequisites: tuple[str, ...] = ()
    pin: str = Field("", description="pinning package, module stream or version lock")

    @property
    def stream(self) -> tuple[str, str] | None:
        """The module and its stream, where these pin it: nvidia-driver and 580-open."""
        module, colon, stream = self.pin.partition(":")
        return (module, stream) if colon else None


class CompanionChoice(_Answer):
    """Something beside the driver; its version is the driver's where `exact`."""

    id: str
    packages: tuple[str, ...]
    version: str = ""
    exact: bool


class CudaChoice(_Answer):
    """One toolkit, and by what right it runs on the driver."""

    version: str
    package: str
    runs: Literal["full", "minor-version", "forward", "no-driver"]
    compat_package: str = ""


class StackChoice(_Answer):
    """ROCm, a release of Intel's, or a container toolkit."""

    id: str = Field("", description="of a container toolkit: its id in the catalog")
    version: str
    packages: tuple[str, ...]
    place: Place | None = None
    driver: str = Field("", description="of ROCm: the version of amdgpu-dkms")
    driver_place: Place | None = Field(None, description="of ROCm: where amdgpu-dkms comes from")


class Choice(_Answer):
    """A set that works together, and why."""

    verdict: Literal["chosen"] = "chosen"
    driver: DriverChoice | None = None
    companions: tuple[CompanionChoice, ...] = ()
    cuda: tuple[CudaChoice, ...] = ()
    cuda_place: Place | None = Field(None, description="where toolkits come from")
    rocm: StackChoice | None = None
    intel: StackChoice | None = None
    container_toolkit: StackChoice | None = None
    steps: tuple[str, ...] = Field(
        (), description="what has to be done besides installing, in order"
    )
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()


class Nearest(_Answer):
    """The smallest change of the settings with which there is a choice."""

    settings: dict[str, Any]
    text: str = Field(description="what would be chosen then")


class Refusal(_Answer):
    """Why there is no choice: the one rule that is in the way, and what would work."""

    verdict: Literal["refused"] = "refused"
    rule: str
    text: str
    hint: str = ""
    sources: tuple[str, ...] = ()
    nearest: Nearest | None = None
