"""What holds for the releases of every maker; the rules of each call it."""

from __future__ import annotations

from collections.abc import Sequence

from nodeproof.catalog.resolve.case import Case, Findings, no, warn
from nodeproof.catalog.versions import is_in_series, ordered


def built_for_x86_64(case: Case, title: str, sources: tuple[str, ...]) -> Findings:
    """Object to other processors."""
    if case.cpu != "x86_64":
        yield no(f"{title} is built for x86_64 only", sources=sources)


def kernel_is_named(
    case: Case, title: str, kernels: Sequence[str], sources: tuple[str, ...], *, newer: bool = False
) -> Findings:
    """Object to a kernel that the maker does not name; `newer`: those after its first will do."""
    if any(is_in_series(case.has.kernel, one) for one in kernels):
        return
    if newer and ordered(case.has.kernel.partition("-")[0]) > ordered(kernels[0]):
        return
    or_newer = " and newer" if newer else ""
    text = f"{title} is for Linux {', '.join(kernels)}{or_newer} on {case.system.title}"
    if case.asked.allow_kernel:
        yield warn(f"{text}, and this is {case.has.kernel}", sources)
    else:
        yield no(
            f"{text}, not for {case.has.kernel}",
            "boot one of these, or set allow_kernel",
            sources,
        )
