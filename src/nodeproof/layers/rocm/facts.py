"""What the rocm layer alone needs to know of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.facts.modules import ASK, LiveModule, a_module, same_value


@dataclass(frozen=True)
class LiveDriver(LiveModule):
    """The amdgpu module that runs, and the one that modprobe would load."""

    params: Mapping[str, str] = field(default_factory=dict)
    """Options that were asked about, as the module has them."""
    partitions: tuple[Mapping[str, str], ...] = ()
    """Of each GPU: ``compute`` and ``memory`` to what the driver says, e.g. SPX and NPS1."""


class Live(FactBase[LiveDriver]):
    """
    The amdgpu module that runs, its options, and how its GPUs are divided.

    .. code:: python

        LiveDriver(loaded=True, srcversion="A1B2", file="/lib/modules/.../amdgpu.ko", ...)
    """

    called = "the amdgpu driver that runs"

    @override
    def command(self, options: str) -> StringCommand:
        """Return a script that prints ``key=value`` lines; `options` are names, with commas."""
        script = f"{ASK}ask amdgpu; m=/sys/module/amdgpu; " + (
            'for o in $(echo "$1" | tr , " "); do '
            'get $m/parameters/$o; [ -n "$v" ] && echo "param=$o $v"; done; '
            'for d in /sys/bus/pci/drivers/amdgpu/*:*; do [ -e "$d" ] || continue; '
            'get "$d/current_compute_partition"; c=$v; '
            'get "$d/current_memory_partition"; echo "gpu=$c $v"; done; true'
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(options))

    @staticmethod
    @override
    def default() -> LiveDriver:
        """Return that none runs."""
        return LiveDriver()

    @override
    def process(self, output: list[str]) -> LiveDriver:
        """Parse the lines."""
        lines = [line.partition("=") for line in output]
        params = (value.partition(" ") for key, _, value in lines if key == "param")
        gpus = (value.partition(" ") for key, _, value in lines if key == "gpu")
        return LiveDriver(
            **asdict(a_module(output)),
            params={name: value for name, _, value in params},
            partitions=tuple({"compute": c, "memory": m.strip()} for c, _, m in gpus),
        )


@dataclass(frozen=True)
class Group:
    """One group of alternatives: where its link leads, and where else it could."""

    value: str = ""
    chosen: bool = False
    """Whether somebody chose it; else it is what was registered as the best."""
    choices: tuple[str, ...] = ()

    def of(self, prefix: str) -> str:
        """Return what of this group is in a release's folder; empty where nothing is."""
        inside = (one for one in self.choices if one == prefix or one.startswith(f"{prefix}/"))
        return next(inside, "")


class Alternatives(FactBase[dict[str, Group]]):
    """
    The groups of alternatives between ROCm releases.

    .. code:: python

        {"rocm": Group("/opt/rocm-6.4.4", choices=("/opt/rocm-6.3.3", "/opt/rocm-6.4.4"))}
    """

    called = "the alternatives between ROCm releases"

    @override
    def command(self) -> StringCommand:
        """Return a script that asks about each group that leads to a release."""
        script = (
            "grep -ls '^/opt/rocm' /var/lib/dpkg/alternatives/* | while read -r f; do "
            'update-alternatives --query "${f##*/}" 2>/dev/null; done; true'
        )
        return StringCommand("sh", "-c", QuoteString(script))

    @staticmethod
    @override
    def default() -> dict[str, Group]:
        """Return that there are none."""
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, Group]:
        """Parse what update-alternatives says; see its manual for --query."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for key, _, text in (line.partition(": ") for line in output):
            if key == "Name":
                groups[text] = []
            elif groups:
                next(reversed(groups.values())).append((key, text))
        return {name: _group(said) for name, said in groups.items()}


def _group(said: Sequence[tuple[str, str]]) -> Group:
    one = dict(said)
    choices = tuple(text for key, text in said if key == "Alternative")
    return Group(one.get("Value", ""), one.get("Status") == "manual", choices)


def option_is(params: Mapping[str, str], option: str, value: str) -> bool | None:
    """Tell whether the loaded module has an option as asked; None where it does not tell it."""
    found = params.get(option)
    return None if found is None else same_value(found, value)
