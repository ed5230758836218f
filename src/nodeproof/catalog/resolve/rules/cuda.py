"""Which toolkits run on a driver, and by what right."""

from __future__ import annotations

from collections.abc import Iterator

from nodeproof.catalog.resolve.case import Case, Driver, Finding, Findings, because, no, warn
from nodeproof.catalog.resolve.choice import CudaChoice
from nodeproof.catalog.resolve.rules.support import below, judged
from nodeproof.catalog.resolve.spec import is_release
from nodeproof.catalog.versions import is_in_series, ordered, series_of

Tried = tuple[CudaChoice | None, list[Finding]]


def toolkits_are_known(case: Case) -> Findings:
    """A toolkit that the catalog has not could need any driver."""
    for wish in case.asked.cuda:
        if not any(is_release(version, wish) for version in case.catalog.cuda_toolkits):
            newest = max(case.catalog.cuda_toolkits, key=ordered)
            yield no(f"no CUDA toolkit {wish} is in the catalog", f"its newest is {newest}")


def toolkits_run_on_the_driver(case: Case, driver: Driver | None) -> Findings:
    """A toolkit runs on the driver of its release and newer ones, with fewer rights on older."""
    for _, findings in chosen(case, driver):
        yield from findings


def chosen(case: Case, driver: Driver | None) -> Iterator[Tried]:
    """Yield what becomes of each wish, or the newest toolkit's objections.

    The newest that runs in full is better than a newer one that runs by compatibility.
    """
    for wish in case.asked.cuda:
        fit = [one for one in case.catalog.cuda_toolkits if is_release(one, wish)]
        tries = [_tried(case, driver, one) for one in sorted(fit, key=ordered, reverse=True)]
        runs = [one for one in tries if one[0]]
        whole = [one for one in runs if one[0] and one[0].runs in ("full", "no-driver")]
        yield next(iter([*whole, *runs, *tries]), (None, []))


def _tried(case: Case, driver: Driver | None, version: str) -> Tried:
    findings = list(_findings(case, driver, version))
    if any(one.kind == "no" for one in findings):
        return None, findings
    toolkit = case.catalog.cuda_toolkits[version]
    choice = CudaChoice(version=version, package=toolkit.package, runs="no-driver")
    if driver is None:
        return choice, findings
    if ordered(driver.version) >= ordered(toolkit.driver):
        return choice.model_copy(update={"runs": "full"}), findings
    major = case.catalog.cuda_majors[series_of(version, 1)]
    if ordered(driver.version) >= ordered(major.driver):
        return choice.model_copy(update={"runs": "minor-version"}), findings
    first, second = version.split(".")[:2]
    compat = major.compat_package.format(major=first, minor=second)
    return choice.model_copy(update={"runs": "forward", "compat_package": compat}), findings


def _findings(case: Case, driver: Driver | None, version: str) -> Findings:
    toolkit = case.catalog.cuda_toolkits[version]
    yield from _generation(case, version)
    for name, advisory, fixed in below(case, "cuda", version):
        text = f"CUDA {version} is open to {name} ({', '.join(advisory.cves)}), mended in {fixed}"
        yield judged(case, name, advisory, text)
    if driver is None:
        return
    if ordered(driver.version) >= ordered(toolkit.driver):
        yield because(
            f"CUDA {version} was released with {toolkit.driver}, which {driver.version} is not "
            "older than",
            toolkit.sources,
        )
        return
    major = case.catalog.cuda_majors[series_of(version, 1)]
    if ordered(driver.version) < ordered(major.driver):
        yield from _forward(case, driver, version)
    elif case.asked.minor_version_compat:
        yield warn(
            f"CUDA {version} runs on {driver.version} by minor-version compatibility only: its PTX "
            f"is not compiled at run time, and what needs driver {toolkit.driver} fails",
            major.sources,
        )
    else:
        yield no(
            f"CUDA {version} is newer than driver {driver.version}: it was released with "
            f"{toolkit.driver}",
            f"ask for driver {toolkit.driver} or newer, or set minor_version_compat",
            major.sources,
        )


def _generation(case: Case, version: str) -> Findings:
    """Toolkits leave generations behind, and learn of new ones."""
    for card in {card.name: card for card in case.nvidia if card.generation}.values():
        generation = card.generation
        if generation is None:
            continue
        first, last = generation.first_cuda, generation.last_cuda
        if last and ordered(version) > ordered(last) and not is_in_series(version, last):
            yield no(
                f"{card.title} ({generation.title}) is supported up to CUDA {last}",
                f"ask for {last}",
                generation.sources,
            )
        if first and ordered(version) < ordered(first):
            yield no(
                f"{card.title} ({generation.title}) is supported from CUDA {first} on",
                sources=generation.sources,
            )


def _forward(case: Case, driver: Driver, version: str) -> Findings:
    """Forward compatibility is for data-center GPUs only, and only where it is asked for."""
    major = case.catalog.cuda_majors[series_of(version, 1)]
    others = [card.title for card in case.nvidia if not card.is_data_center]
    if not case.asked.forward_compat:
        yield no(
            f"CUDA {version} needs driver {major.driver} or newer, and {driver.version} is older",
            f"ask for driver {major.driver}, or set forward_compat",
            major.sources,
        )
    elif others:
        yield no(
            f"forward compatibility is for data-center GPUs only, not for {others[0]}",
            f"ask for driver {major.driver} or newer",
            major.sources,
        )
    else:
        yield warn(
            f"CUDA {version} runs on {driver.version} by forward compatibility", major.sources
        )
