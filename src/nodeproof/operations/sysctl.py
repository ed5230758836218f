"""Set parameters of the running kernel."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from fnmatch import fnmatchcase

from pyinfra import host
from pyinfra.api import OperationValueError, QuoteString, operation

from nodeproof.facts.sysctl import Parameter, Sysctl
from nodeproof.operations import journal
from nodeproof.operations.journal import Change, Item, Kind

FORWARDING = frozenset({"net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"})
ONE_WAY = {
    ("kernel.kexec_load_disabled", "1"),
    ("kernel.modules_disabled", "1"),
    ("kernel.unprivileged_bpf_disabled", "1"),
    ("kernel.yama.ptrace_scope", "3"),
}
"""What the kernel lets nobody take back; source: Documentation/admin-guide/sysctl, LSM/Yama."""


@operation()
def live(
    path: str,
    values: Mapping[str, str],
    also: Mapping[str, Sequence[str]] | None = None,
    hosted: bool = False,
) -> Generator[Change]:
    """
    Make parameters of the running kernel have these values, all in one command.

    A parameter that the kernel does not have is left out.

    + path: the file that sets them at boot; what cannot be taken back live is booked there
    + values: value by key, in the order in which they are set; a star is every interface
    + also: other values that do as well
    + hosted: whether the kernel is a container's host's; what cannot be set there is left out

    **Example:**

    .. code:: python

        sysctl.live(name="Set the kernel parameters", path="/etc/sysctl.d/zz-nodeproof.conf",
                    values={"kernel.kptr_restrict": "1"})
    """

    if not values:
        raise OperationValueError("sysctl.live: values is empty; name at least one parameter")
    now: dict[str, Parameter] = host.get_fact(Sysctl, keys=",".join(values))
    ours = {key: one for key, one in now.items() if one.writable or not hosted}
    wrong = _wrong(ours, values, also or {})
    if not wrong:
        host.noop("the kernel's parameters are as asked")
        return
    stays = {key: value for key, value in wrong.items() if (key, value) in ONE_WAY}
    back = {key: value for key, value in wrong.items() if key not in stays}
    if back:
        # Taken back last first: in this order, too, as forwarding moves what stands after it.
        touches = [Item(Kind.SYSCTL, key) for key in reversed(back)]
        yield Change("sysctl -q -w --", *_assigned(back), touches=touches)
    if stays:
        yield Change(
            "sysctl -q -w --",
            *_assigned(stays),
            touches=[journal.file(path)],
            lasting=[f"{key} stays {value} until the next boot" for key, value in stays.items()],
        )


def _wrong(
    now: Mapping[str, Parameter], values: Mapping[str, str], also: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return what must be set. Where forwarding changes, the kernel resets others: all are set."""
    there = {
        found: (key, value)
        for key, value in values.items()
        for found in now
        if found == key or ("*" in key and found not in values and fnmatchcase(found, key))
    }
    wrong = {
        found: value
        for found, (key, value) in there.items()
        if now[found].value not in (value, *also.get(key, ()))
    }
    if FORWARDING & wrong.keys():
        wrong |= {
            found: value
            for found, (_, value) in there.items()
            if found.startswith("net.ipv4.conf.")
        }
    return {found: wrong[found] for found in there if found in wrong}


def _assigned(values: Mapping[str, str]) -> list[QuoteString]:
    return [QuoteString(f"{key}={value}") for key, value in values.items()]
