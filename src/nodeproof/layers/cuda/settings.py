"""What may be asked of the cuda layer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from typing_extensions import override

from nodeproof.catalog.resolve.asked import FromNvidia, ReleaseWish
from nodeproof.settings import setting
from nodeproof.settings.types import AbsolutePath, grammar

Series = Annotated[str, grammar(r"^[0-9]{2}\.[0-9]{1,2}$", "a release without patch: 13.1", 5)]
Parts = Literal["all", "build", "libraries"]


class Settings(FromNvidia):
    """Settings of the cuda layer."""

    toolkits: list[ReleaseWish] = setting(
        ["latest"], "the toolkits, side by side; the newest that the driver runs in full is taken",
        min_length=1,
    )  # fmt: skip
    default: Series | None = setting(
        None, "which of them is /usr/local/cuda; none: the newest of them"
    )
    parts: Parts = setting(
        "all", "how much of each: all, what builds (compiler and runtime), libraries alone"
    )
    cudnn: bool = setting(False, "cuDNN, for the default toolkit")
    nccl: bool = setting(False, "NCCL, in a build for the default toolkit")
    minor_version_compat: bool = setting(
        True, "whether a toolkit may be newer than the driver by its minor version"
    )
    forward_compat: bool = setting(
        False, "whether one of a newer major release may run by a compatibility package"
    )
    modulefiles: AbsolutePath | None = setting(
        None, "folder in which cuda/RELEASE is written for Environment Modules and Lmod"
    )
    profile: bool = setting(False, "whether login shells have the default toolkit on their PATH")

    @override
    def asks(self) -> dict[str, Any]:
        """Return the toolkits, and by what right they may run."""
        return {
            **super().asks(),
            "cuda": self.toolkits,
            "minor_version_compat": self.minor_version_compat,
            "forward_compat": self.forward_compat,
        }
