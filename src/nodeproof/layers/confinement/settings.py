"""What may be asked of the confinement layer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, model_validator

from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.types import AbsolutePath, GroupName, PathPattern

PROFILE = "nodeproof-workload"
"""The profile's name, and its file's."""


_THE_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/proc", "/root"),
    *("/run", "/sbin", "/sys", "/usr", "/var/lib/nodeproof", "/var/log"),
)
_SHARED = ("/", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var", "/var/lib", "/var/tmp")  # noqa: S108


def _within(path: str, directory: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{directory.rstrip('/')}/")


def _directory(path: str) -> str:
    if path.strip("/") == "":
        raise ValueError("is the whole system; name a directory below it")
    return path.rstrip("/")


def _own_directory(path: str) -> str:
    """Refuse what the system lives in: it would get the scratch directories' mode and group."""
    path = _directory(path)
    if path in _SHARED or any(_within(path, system) for system in _THE_SYSTEM):
        raise ValueError("belongs to the system; name a directory of its own, e.g. /srv/scratch")
    return path


def _device(pattern: str) -> str:
    if not pattern.startswith("/dev/"):
        raise ValueError("is not a device; patterns begin with /dev/")
    return pattern


ModelDirectory = Annotated[AbsolutePath, AfterValidator(_directory)]
ScratchDirectory = Annotated[AbsolutePath, AfterValidator(_own_directory)]
Device = Annotated[PathPattern, AfterValidator(_device)]


class Mode(StrEnum):
    """What happens when a workload does what the profile does not allow."""

    ENFORCE = "enforce"
    COMPLAIN = "complain"


class Settings(LayerSettings):
    """Settings of the confinement layer: the AppArmor profile `nodeproof-workload`."""

    mode: Mode = setting(
        Mode.ENFORCE, "enforce denies and logs, complain allows and logs", strict=False
    )
    model_dirs: list[ModelDirectory] = setting(
        ["/srv/models"], "directories that a workload reads and never writes; made where missing"
    )
    scratch_dirs: list[ScratchDirectory] = setting(
        ["/srv/scratch"], "directories that a workload writes to; only their group may enter"
    )
    group: GroupName = setting(
        "nodeproof-workload", "the group of the scratch directories; made where it is missing"
    )
    executables: list[PathPattern] = setting(
        ["/bin/**", "/usr/bin/**", "/usr/lib/**", "/usr/libexec/**", "/usr/local/**", "/opt/**"],
        "programs that a workload may start; they stay under the profile",
        min_length=1,
    )
    devices: list[Device] = setting(
        [], "devices that a workload may use, such as /dev/nvidia* or /dev/dri/**"
    )
    network: bool = setting(True, "whether a workload may use TCP and UDP")

    @model_validator(mode="after")
    def _scratch_is_not_a_model(self) -> Settings:
        for scratch in self.scratch_dirs:
            if any(_within(scratch, model) for model in self.model_dirs):
                raise ValueError(f"{scratch} is in scratch_dirs and lies in one of model_dirs")
        return self
