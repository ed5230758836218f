"""What a choice must hold to, worked out anew from the tables: no rule and no helper of theirs.

Versions are tuples of numbers here, and every condition is a plain comparison. Where this and the
resolver disagree, one of the two has misread the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from packaging.specifiers import SpecifierSet

from nodeproof.catalog.model.hardware import Architecture, Product
from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.choice import Choice
from nodeproof.catalog.resolve.machine import Machine
from nodeproof.catalog.whole import Catalog

ADVISORY = "advisory"


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.replace("-", ".").split("."))


def products(machine: Machine, catalog: Catalog) -> list[tuple[Product, Architecture]]:
    """Return NVIDIA's products on a machine of which all are in the catalog."""
    found = []
    for gpu in machine.accelerators.gpus:
        for product in catalog.products.values():
            if product.vendor == "nvidia" and gpu.device_id in product.devices:
                found.append((product, catalog.architectures[product.architecture]))
    return found


def asked_for(version: str, catalog: Catalog, wish: str) -> bool:
    kind = catalog.branches[version.split(".")[0]].kind
    match wish:
        case "lts":
            return kind == "lts"
        case "latest-production":
            return kind == "production"
        case "latest":
            return True
    if wish[0].isdigit():
        return version == wish or version.startswith(f"{wish}.")
    return version in SpecifierSet(wish)


def driver_complaints(
    version: str, modules: str, asked: Asked, machine: Machine, catalog: Catalog, today: date
) -> Iterator[str]:
    """Yield what is wrong with a driver on a machine; advisories are marked."""
    name = version.split(".")[0]
    branch = catalog.branches[name]
    for product, generation in products(machine, catalog):
        if generation.last_branch and int(name) > int(generation.last_branch):
            yield f"{product.title}: too new"
        if generation.first_branch and int(name) < int(generation.first_branch):
            yield f"{product.title}: too old"
        if product.driver and numbers(version) < numbers(product.driver):
            yield f"{product.title}: before its first driver"
        if modules not in (product.modules or generation.modules):
            yield f"{product.title}: {modules} modules do not drive it"
        first = product.mig_driver
        if asked.mig and (not product.mig or (first and numbers(version) < numbers(first))):
            yield f"{product.title}: no MIG with it"
    if modules not in branch.modules:
        yield "the branch has no such modules"
    if branch.end_of_life and branch.end_of_life < today and name not in asked.allow_end_of_life:
        yield "ended"
    system = next(
        one
        for one in catalog.systems.values()
        if machine.os_id in one.os_ids and machine.os_version == one.os_version
    )
    if system.first_branch and int(name) < int(system.first_branch):
        yield "not built for the system"
    there = machine.accelerators.driver
    if there and numbers(version) < numbers(there.version) and asked.installed != "replace":
        yield "goes back"
    yield from _advisories(version, asked, catalog)


def _advisories(version: str, asked: Asked, catalog: Catalog) -> Iterator[str]:
    name = version.split(".")[0]
    branch = catalog.branches[name]
    about = {
        key: one
        for key, one in catalog.advisories.items()
        if one.subject == "driver" and one.refuses and key not in asked.allow_insecure
    }
    listing = [one.published for one in catalog.advisories.values() if name in one.fixed]
    began = branch.released or branch.releases[0].released or date.min
    for key, one in about.items():
        if name in one.fixed:
            if numbers(version) < numbers(one.fixed[name]):
                yield f"{ADVISORY} {key}: below"
        elif one.published >= began and all(one.published > day for day in listing):
            yield f"{ADVISORY} {key}: no fix"


def choice_complaints(
    choice: Choice, asked: Asked, machine: Machine, catalog: Catalog, today: date
) -> Iterator[str]:
    """Yield everything that a choice breaks."""
    driver, has = choice.driver, machine.accelerators
    if driver is None:
        if asked.driver != "none" and any(gpu.vendor_id == "10de" for gpu in has.gpus):
            yield "no driver, and one was asked for"
        return
    if has.platform in catalog.platforms:
        yield f"a driver on {has.platform}"
    known = [one.version for branch in catalog.branches.values() for one in branch.releases]
    if driver.version not in known or driver.branch != driver.version.split(".")[0]:
        yield "a version of nobody's"
    if driver.origin != "kept" and not asked_for(driver.version, catalog, asked.driver):
        yield "not what was asked for"
    yield from driver_complaints(driver.version, driver.modules, asked, machine, catalog, today)
    if asked.modules not in ("auto", driver.modules) and driver.origin != "kept":
        yield "modules of another kind than was asked for"
    if has.secure_boot and asked.secure_boot != "mok" and driver.origin == "vendor":
        yield "modules that do not load"
    if driver.place and driver.origin == "vendor":
        place = catalog.repositories[driver.place.repository]
        key = catalog.keys.get(place.key or "")
        if key is None and place.keyring is None and asked.repository_key is None:
            yield "a repository of nobody's"
        if key and (key.revoked or (key.fingerprint or "") != driver.place.fingerprint):
            yield "another key than the repository's"
        if place.architecture != has.arch:
            yield "a repository for another processor"
    yield from _beside(choice, asked, machine, catalog)
    yield from _cuda(choice, asked, machine, catalog)


def _beside(choice: Choice, asked: Asked, machine: Machine, catalog: Catalog) -> Iterator[str]:
    has = machine.accelerators
    assert choice.driver
    ids = {one.id: one for one in choice.companions}
    for one in choice.companions:
        if catalog.companions[one.id].version == "driver" and one.version != choice.driver.version:
            yield f"{one.id} is not of the driver's version"
    fifth = any(one.fabric == "nvlink5" for one, _ in products(machine, catalog))
    switched = has.nvswitches > 0 or (fifth and has.platform != "vm")
    if switched != ("fabric-manager" in ids) or switched != ("nscq" in ids):
        yield "fabric manager where it should not be, or none where it should"
    if any(one.fabric == "rack" for one, _ in products(machine, catalog)) != ("imex" in ids):
        yield "IMEX where it should not be, or none where it should"
    if asked.gds and choice.driver.modules != "open":
        yield "GDS with proprietary modules"


def _cuda(choice: Choice, asked: Asked, machine: Machine, catalog: Catalog) -> Iterator[str]:
    assert choice.driver
    if len(choice.cuda) != len(asked.cuda):
        yield "a toolkit too many or too few"
    driver = numbers(choice.driver.version)
    for one in choice.cuda:
        toolkit, major = catalog.cuda_toolkits[one.version], one.version.split(".")[0]
        full = driver >= numbers(toolkit.driver)
        minor = driver >= numbers(catalog.cuda_majors[major].driver)
        if one.runs != ("full" if full else "minor-version" if minor else "forward"):
            yield f"CUDA {one.version} does not run like that"
        if one.runs == "minor-version" and not asked.minor_version_compat:
            yield "minor-version compatibility where it is not allowed"
        if one.runs == "forward" and not asked.forward_compat:
            yield "forward compatibility without being asked for"
        for product, generation in products(machine, catalog):
            if one.runs == "forward" and not product.data_center:
                yield f"forward compatibility on {product.title}"
            if generation.last_cuda and int(major) > int(generation.last_cuda.split(".")[0]):
                yield f"CUDA {one.version} has left {generation.title} behind"
            if generation.first_cuda and numbers(one.version) < numbers(generation.first_cuda):
                yield f"CUDA {one.version} does not know {generation.title}"
