"""What is on the machine already: other drivers, holds, leftovers."""

from __future__ import annotations

from fnmatch import fnmatch

from nodeproof.catalog.resolve.case import Case, Driver, Findings, because, no, warn
from nodeproof.catalog.resolve.spec import WORDS, is_driver
from nodeproof.catalog.versions import branch_of, ordered

REMOVAL = {
    "runfile": "run nvidia-uninstall, which the installer left",
    "distribution": "remove the distribution's nvidia packages",
}
"""How a driver that came another way is taken away, by its origin."""


def present_driver_may_stay_or_go(case: Case) -> Findings:
    """Two installers do not know of each other's files: one driver goes before another comes."""
    present, stack = case.has.driver, case.has.preinstalled
    if stack:
        yield warn(f"the node is {stack}, which has a stack of its own for GPUs")
    if not case.wants_driver:
        return
    if case.asked.installed == "keep" and present is None:
        yield no("there is no driver to keep", "set installed to refuse")
    if present is None:
        yield because("no driver is installed")
        return
    ours = "vendor-repository" if case.asked.source == "vendor" else "distribution"
    if case.asked.installed == "keep":
        yield because(f"driver {present.version} ({stack or present.origin}) is kept as it is")
    elif stack and case.asked.installed == "refuse":
        yield no(
            f"the node is {stack}, and driver {present.version} belongs to it",
            "set installed to keep, which adopts it as it is, or to replace, which takes it out of "
            "its stack; or begin with an image without a driver",
        )
    elif present.origin == ours:
        yield because(f"driver {present.version} came from there, too")
    elif present.origin == "unknown":
        yield no(
            f"driver {present.version} is there, and nobody knows where from",
            "set installed to keep, or remove it yourself",
        )
    elif case.asked.installed == "replace":
        how = REMOVAL.get(present.origin, "remove its packages")
        yield warn(f"driver {present.version} ({present.origin}) goes first: {how}")
    else:
        yield no(
            f"driver {present.version} came by {present.origin}, and two ways do not mix",
            "set installed to replace, or to keep",
        )


def kept_driver_is_in_the_catalog(case: Case) -> Findings:
    """What is adopted has to be known, or nothing can be said of it."""
    present = case.has.driver
    if case.asked.installed != "keep" or present is None or not case.wants_driver:
        return
    branch = case.catalog.branches.get(branch_of(present.version))
    if branch is None or present.version not in branch.versions:
        yield no(
            f"driver {present.version} is not in the catalog",
            "set installed to replace, or update the catalog",
        )
    elif present.flavour == "unknown":
        yield no("the kept driver's kernel modules are of unknown kind", "set installed to replace")


def kept_driver_is_what_is_asked(case: Case, driver: Driver) -> Findings:
    """Keeping a driver does not make it another; a word such as lts is about new ones."""
    wish = case.asked.driver
    if driver.kept and wish not in WORDS and not is_driver(driver.version, driver.branch, wish):
        yield no(
            f"driver {driver.version} is to be kept, and {wish} is asked for",
            "set installed to replace",
        )


def driver_does_not_go_back(case: Case, driver: Driver) -> Findings:
    """Going back takes files and settings along that the older one does not understand."""
    present = case.has.driver
    if present is None or driver.kept:
        return
    if ordered(driver.version) < ordered(present.version):
        if case.asked.installed == "replace":
            yield warn(f"driver {present.version} gives way to the older {driver.version}")
        else:
            yield no(
                f"driver {present.version} is installed, and {driver.version} is older",
                f"ask for {branch_of(present.version)} or newer, or set installed to replace",
            )
    elif branch_of(present.version) != driver.name:
        yield because(f"R{branch_of(present.version)} gives way to R{driver.name}")


def nothing_is_on_hold(case: Case, driver: Driver) -> Findings:
    """A package on hold stays as it is, and its new counterparts do not fit."""
    # What nodeproof holds itself, it takes along.
    present = case.has.driver
    if driver.kept or case.has.managed or (present and present.version == driver.version):
        return
    held = [name for name in case.has.held if any(fnmatch(name, one) for one in _PARTS)]
    held = [name for name in held if "-container" not in name]  # its toolkit goes its own way
    if held and present is not None:
        yield no(
            f"{', '.join(held)} on hold, and {driver.version} is to replace {present.version}",
            f"ask for {present.version}, or release the hold",
        )


_PARTS = ("nvidia-*", "cuda-drivers*", "libnvidia-*", "kmod-nvidia*", "linux-modules-nvidia-*")


def no_module_is_left_over(case: Case, driver: Driver) -> Findings:
    """DKMS builds what it was told to, and a second nvidia module would win or lose by chance."""
    present = case.has.driver
    for module in case.has.dkms:
        known = {driver.version, present.version if present else driver.version}
        if module.name in ("nvidia", "nvidia-open") and module.version not in known:
            if case.asked.installed == "replace":
                yield warn(
                    f"dkms module {module.name}/{module.version} is left over and goes first"
                )
            else:
                yield no(
                    f"dkms has {module.name}/{module.version}, which belongs to no driver here",
                    "set installed to replace",
                )


def nouveau_gives_way(case: Case) -> Findings:
    """Two drivers cannot own one GPU; a driver that is loaded goes at a reboot."""
    in_use = case.has.nouveau_loaded or any(
        card.gpu.driver_in_use == "nouveau" for card in case.nvidia
    )
    if not in_use or not case.wants_driver:
        return
    if case.asked.nouveau == "keep":
        yield no("nouveau has the GPU, and is to be kept", "set nouveau to off, or driver to none")
    else:
        yield warn("nouveau is loaded: it is switched off, and a reboot takes it away")
