"""What may be asked of the kernel layer, and what that decides."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from nodeproof.catalog.hardening.decide import decide, exemptions, values
from nodeproof.catalog.hardening.model import LEAVE, Decision, Exempt, Level, Value, parameters
from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.roles import OfRoles
from nodeproof.settings.types import grammar

DENY = "deny"
SYSCTL_KEY = r"^[a-z][a-z0-9_-]*(\.[a-zA-Z0-9_]([a-zA-Z0-9_/-]*[a-zA-Z0-9_])?)+$"
DAY = r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]$"
SAME = ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding")
"""Two names of one value."""


def _words(text: str) -> str:
    """Return a value as /proc/sys shows it."""
    return " ".join(text.split())


def _day(text: str) -> str:
    """Refuse a day that no calendar has."""
    date.fromisoformat(text)
    return text


SysctlKey = Annotated[
    str,
    grammar(
        SYSCTL_KEY,
        "a kernel parameter such as kernel.kptr_restrict",
        128,
    ),
]
SysctlText = Annotated[
    str,
    grammar(
        r"^[A-Za-z0-9]([A-Za-z0-9 _.,/:=@+-]*[A-Za-z0-9])?$",
        "the value of a kernel parameter, or leave",
    ),
    AfterValidator(_words),
]
ModuleName = Annotated[
    str, grammar(r"^[a-z0-9][a-z0-9_-]*[a-z0-9]$", "a kernel module such as usb-storage", 64)
]
Reason = Annotated[
    str,
    grammar(r"^[A-Za-z0-9][A-Za-z0-9 .,:/()_+-]*[A-Za-z0-9.)]$", "a sentence of plain letters"),
]
Day = Annotated[
    str,
    grammar(DAY, "a day: 2026-12-31", 10),
    AfterValidator(_day),
]
LimitName = Literal["core", "memlock", "nproc", "nofile", "nofile_soft"]
Limit = Annotated[int, Field(ge=0)] | Literal["unlimited", "leave"]


class Mitigation(LayerSettings):
    """Why a module is denied for a time."""

    reason: Reason = setting(..., "what is wrong with it, e.g. the CVE")
    until: Day = setting(..., "the day after which somebody must look at it again")

    @property
    def last_day(self) -> date:
        """The last day of it."""
        return date.fromisoformat(self.until)


class Settings(OfRoles):
    """Settings of the kernel layer."""

    level: Level = setting(1, "how strict: 0 sets nothing, 1 is for every server, 2 is strict")
    sysctl: dict[SysctlKey, int | SysctlText] = setting(
        {}, "kernel parameters of your own, which win; leave keeps what the node has"
    )
    deny_modules: list[ModuleName] = setting([], "more kernel modules that nothing may load")
    allow_modules: list[ModuleName] = setting([], "kernel modules that are not denied")
    deny_until: dict[ModuleName, Mitigation] = setting(
        {}, "modules that are denied until they are mended"
    )
    core_dumps: bool = setting(False, "whether core dumps are kept")
    limits: dict[LimitName, Limit] = setting(
        {}, "limits of sessions and services that win; memlock in KiB; leave keeps what is there"
    )

    @model_validator(mode="after")
    def _modules_are_on_one_side(self) -> Settings:
        denied = {canonical(name) for name in (*self.deny_modules, *self.deny_until)}
        for name in self.allow_modules:
            if canonical(name) in denied:
                raise ValueError(f"{name} is denied and in allow_modules")
        return self

    @model_validator(mode="after")
    def _one_value_has_one_name(self) -> Settings:
        if len({str(self.sysctl[name]) for name in SAME if name in self.sysctl}) > 1:
            raise ValueError(f"sysctl: {' and '.join(SAME)} are one value and differ")
        return self


def canonical(module: str) -> str:
    """Return a module's name as the kernel spells it."""
    return module.replace("-", "_")


def kernel_parameters(settings: Settings) -> tuple[Decision, ...]:
    """Decide our kernel parameters; the user's own others are `own_parameters`."""
    chosen: dict[str, Value] = {**settings.sysctl}
    if given := [chosen[name] for name in SAME if name in chosen]:
        chosen |= dict.fromkeys(SAME, given[0])
    return decide(parameters("sysctl"), settings.level, settings.roles, chosen)


def own_parameters(settings: Settings) -> dict[str, Value]:
    """Return the user's kernel parameters that no control asks for."""
    ours = {one.key for one in parameters("sysctl")}
    return {
        key: value for key, value in settings.sysctl.items() if key not in ours and value != LEAVE
    }


def modules(settings: Settings) -> tuple[Decision, ...]:
    """Decide which of our modules are denied."""
    chosen = dict.fromkeys(map(canonical, settings.allow_modules), LEAVE)
    chosen |= dict.fromkeys(map(canonical, (*settings.deny_modules, *settings.deny_until)), DENY)
    ours = parameters("modules")
    by_name = {one.key: chosen[canonical(one.key)] for one in ours if canonical(one.key) in chosen}
    return decide(ours, settings.level, settings.roles, by_name)


def denied(settings: Settings) -> list[str]:
    """Return all modules that nothing may load, by name."""
    names = {canonical(name): name for name in (*settings.deny_modules, *settings.deny_until)}
    names |= {canonical(name): name for name in values(modules(settings))}
    return [names[name] for name in sorted(names)]


def limits(settings: Settings) -> tuple[Decision, ...]:
    """Decide the limits of sessions and services."""
    dumps: dict[str, Value] = {"core": LEAVE} if settings.core_dumps else {}
    chosen = {**dumps, **{str(name): value for name, value in settings.limits.items()}}
    return decide(parameters("limits"), settings.level, settings.roles, chosen)


def core_dumps(settings: Settings) -> tuple[Decision, ...]:
    """Decide what systemd-coredump keeps."""
    ours = parameters("coredump")
    chosen = {one.key: LEAVE for one in ours} if settings.core_dumps else {}
    return decide(ours, settings.level, settings.roles, chosen)


def exceptions(settings: Settings) -> tuple[Exempt, ...]:
    """Return every parameter that is on purpose other than its control asks."""
    decided = (kernel_parameters, modules, limits, core_dumps)
    return tuple(one for decide_them in decided for one in exemptions(decide_them(settings)))
