"""What on a node would stop when the kernel forwards or listens to routers no more."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

_COMMAND = (
    "for n in /sys/class/net/*; do i=${n##*/}; case $i in cali*|cilium_*|flannel*) "
    'echo "forwards=$i";; *) [ -d "$n/bridge" ] && echo "forwards=$i";; esac; done; '
    'echo "forwarding=$(cat /proc/sys/net/ipv4/ip_forward)"; '
    "ip -6 route show default proto ra 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p' | "
    'sort -u | while read -r i; do [ "$(cat "/proc/sys/net/ipv6/conf/$i/accept_ra")" = 0 ] || '
    'echo "advertised=$i"; done; true'
)


@dataclass(frozen=True)
class Traffic:
    """Interfaces that hang on what the kernel does for them."""

    forwarding: bool = False
    forwards: tuple[str, ...] = ()
    """Bridges, and interfaces of Kubernetes' networks."""
    advertised: tuple[str, ...] = ()
    """Where the kernel itself took an IPv6 default route from a router."""


class Needed(FactBase[Traffic]):
    """
    What needs forwarding and router advertisements now.

    .. code:: python

        Traffic(forwarding=True, forwards=("docker0",), advertised=())
    """

    called = "what the node forwards"

    @override
    def command(self) -> str:
        """Return a script that prints ``key=value`` lines."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> Traffic:
        """Return that nothing does."""
        return Traffic()

    @override
    def process(self, output: list[str]) -> Traffic:
        """Parse the lines."""
        said = [tuple(line.split("=", 1)) for line in output if "=" in line]
        return Traffic(
            forwarding=("forwarding", "1") in said,
            forwards=tuple(value for key, value in said if key == "forwards"),
            advertised=tuple(value for key, value in said if key == "advertised"),
        )
