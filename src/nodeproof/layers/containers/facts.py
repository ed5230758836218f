"""What the containers layer alone needs to know of a node."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.layers.containers.settings import (
    AMD_CDI,
    AMD_CTK,
    NVIDIA_CDI,
    NVIDIA_CTK,
    NVIDIA_SMI,
    PROBE_IMAGE,
)

REFRESH = "nvidia-cdi-refresh"
"""The units of NVIDIA's toolkit that write its CDI specification anew; source: its repository.

They are in /etc/systemd/system until 1.19, and in /lib/systemd/system since 1.20.
"""
OUR_REFRESH = "nodeproof-cdi-refresh"
"""Those that do it where the toolkit has none."""
AMD_REFRESH = "nodeproof-amd-cdi.service"
"""The unit that does it for AMD, whose toolkit has none."""
INSTANCE = "MIG-[0-9a-f-]*"
"""How nvidia-smi -L and a CDI specification name a MIG instance; source: nvidia-ctk, whose default
is to name devices by index and by UUID (cmd/nvidia-ctk/cdi/generate)."""
_DESCRIBED = f"""
uuids() {{ grep -o '{INSTANCE}' | sort -u; }}
if [ -x {NVIDIA_CTK} ]; then
  echo present
  gpus=$([ ! -c /dev/nvidiactl ] || timeout 60 {NVIDIA_SMI} -L 2>/dev/null)
  case $gpus in *GPU-*)
    [ -e {NVIDIA_CDI} ] && [ "$(echo "$gpus" | uuids)" = "$(uuids <{NVIDIA_CDI})" ] ||
      echo undescribed;;
  esac
fi
"""
LABEL, RECIPE = "org.nodeproof.probe", "1"
"""The image's label, and how images are made now; a change of the recipe makes a new image."""


class ProbeImage(FactBase[bool]):
    """
    Whether an engine has the image that checks run.

    .. code:: python

        True
    """

    default = bool
    called = "the probe image of {engine}"

    @override
    def command(self, engine: str) -> StringCommand:
        """Return a script that prints the image's label, if there is an engine and an image."""
        script = (
            'command -v "$1" >/dev/null || exit 0; '
            f'"$1" image inspect --format \'{{{{index .Config.Labels "{LABEL}"}}}}\' '
            f"{PROBE_IMAGE} 2>/dev/null || true"
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(engine))

    @override
    def process(self, output: list[str]) -> bool:
        """Compare the label; podman prints an empty list besides where there is no image."""
        return output == [RECIPE]


class LiveRestore(FactBase[bool | None]):
    """
    Whether the running Docker daemon lets containers go on without it; None where none runs.

    .. code:: python

        True
    """

    called = "live restore of Docker"

    @override
    def command(self) -> str:
        """Return a command that asks the daemon."""
        return "docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> bool | None:
        """Parse Go's booleans."""
        return {"true": True, "false": False}.get(output[0]) if output else None


class ContainerdMajor(FactBase[int | None]):
    """
    The first number of containerd's version; None where it is not installed.

    .. code:: python

        1
    """

    called = "the version of containerd"

    @override
    def command(self) -> str:
        """Return a command that prints the version, if there is a containerd."""
        return "command -v containerd >/dev/null || exit 0; containerd --version"

    @override
    def process(self, output: list[str]) -> int | None:
        """Find the version; distributions write 1.6.20~ds1, others v2.1.4."""
        if not output:
            return None
        found = re.search(r" v?([0-9]+)\.[0-9]+\.[0-9]+", output[0])
        if found is None:
            raise ValueError(f"containerd --version says {output[0]!r}")
        return int(found[1])


class Crio(FactBase[bool]):
    """
    Whether CRI-O is installed.

    .. code:: python

        True
    """

    default = bool
    called = "whether CRI-O is installed"

    @override
    def command(self) -> str:
        """Return a command that prints where it is."""
        return "command -v crio || true"

    @override
    def process(self, output: list[str]) -> bool:
        """Tell whether it is anywhere."""
        return bool(output)


@dataclass(frozen=True)
class NvidiaCtkData:
    """What of NVIDIA's container toolkit concerns CDI."""

    present: bool = False
    """Whether nvidia-ctk is installed."""
    refreshes: bool = False
    """Whether it brings the units that refresh the specification, as since 1.18."""
    unlinked: tuple[str, ...] = ()
    """Links that are missing in /dev/char, for NVIDIA's devices that are there."""
    ours: bool = False
    """Whether units of ours are there, as for an older toolkit."""
    undescribed: bool = False
    """Whether there are GPUs, and no specification of them, or one of other MIG instances."""


class NvidiaCtk(FactBase[NvidiaCtkData]):
    """
    NVIDIA's container toolkit, as far as CDI specifications go.

    .. code:: python

        NvidiaCtkData(present=True, refreshes=True, unlinked=("/dev/char/195:0",))
    """

    called = "NVIDIA's container toolkit"

    @override
    def command(self) -> str:
        """Return a script that prints a line for each of what it finds."""
        return (
            f"{_DESCRIBED}"
            f"for d in /lib /etc; do [ ! -e $d/systemd/system/{REFRESH}.path ] || "
            "{ echo refreshes; break; }; done; "
            f"[ ! -e /etc/systemd/system/{OUR_REFRESH}.path ] || echo ours; "
            'for node in /dev/nvidia*; do [ -c "$node" ] || continue; '
            'set -- $(stat -c "%t %T" -- "$node"); link=/dev/char/$((0x$1)):$((0x$2)); '
            '[ -e "$link" ] || echo "$link"; done'
        )

    @staticmethod
    @override
    def default() -> NvidiaCtkData:
        """Return that there is none."""
        return NvidiaCtkData()

    @override
    def process(self, output: list[str]) -> NvidiaCtkData:
        """Sort the lines."""
        links = tuple(line for line in output if line.startswith("/dev/char/"))
        words = ("present", "refreshes", "ours", "undescribed")
        present, refreshes, ours, undescribed = (one in output for one in words)
        return NvidiaCtkData(present, refreshes, links, ours, undescribed)


@dataclass(frozen=True)
class AmdCtkData:
    """What of AMD's container toolkit concerns CDI."""

    present: bool = False
    """Whether amd-ctk is installed."""
    undescribed: bool = False
    """Whether there are GPUs that its driver runs, and no specification of them."""


class AmdCtk(FactBase[AmdCtkData]):
    """
    AMD's container toolkit, as far as CDI specifications go.

    .. code:: python

        AmdCtkData(present=True, undescribed=False)
    """

    called = "AMD's container toolkit"

    @override
    def command(self) -> str:
        """Return a script that prints a line for each of what it finds."""
        return (
            f"[ ! -x {AMD_CTK} ] || echo present; "
            f"[ ! -c /dev/kfd ] || [ -e {AMD_CDI} ] || echo undescribed"
        )

    @staticmethod
    @override
    def default() -> AmdCtkData:
        """Return that there is none."""
        return AmdCtkData()

    @override
    def process(self, output: list[str]) -> AmdCtkData:
        """Sort the lines."""
        return AmdCtkData("present" in output, "undescribed" in output)
