"""What drives the GPUs that are in the machine."""

from __future__ import annotations

from collections.abc import Iterable

from nodeproof.catalog.resolve.case import Card, Case, Driver, Findings, because, no, warn
from nodeproof.catalog.versions import ordered

TPU = "1ae0"
"""Google's PCI vendor; of its devices, the facts name TPUs only."""


def titles(cards: Iterable[Card]) -> str:
    """Return the products, each once, with how many there are of it."""
    names = [card.title for card in cards]
    return ", ".join(
        f"{names.count(name)} x {name}" if names.count(name) > 1 else name
        for name in dict.fromkeys(names)
    )


def driver_has_a_gpu(case: Case) -> Findings:
    """A driver without a GPU is a module that does not load."""
    if case.has.platform in case.catalog.platforms:
        return
    if case.wants_driver and not case.nvidia:
        if any(gpu.vendor_id == TPU for gpu in case.has.gpus):
            yield no(
                "there is no NVIDIA GPU, but a TPU, whose driver comes with the image of its VM",
                "set driver to none; libtpu comes with JAX and PyTorch",
            )
        elif case.intel:
            yield no(
                f"there is no NVIDIA GPU, but {titles(case.intel)}",
                "set driver to none, and ask for a release of Intel's",
            )
        else:
            yield no("there is no NVIDIA GPU on the PCI bus", "set driver to none")
    if case.wants_rocm and not case.amd:
        yield no("there is no AMD accelerator on the PCI bus", "set rocm to none")
    if case.wants_intel and not case.intel:
        yield no(
            "there is no accelerator of Intel's on the PCI bus that the catalog knows",
            "set intel to none",
        )


def gpu_is_known(case: Case) -> Findings:
    """What is not known cannot be proven to work."""
    if not case.wants_driver:
        return
    for card in case.nvidia:
        if card.generation is None:
            yield no(
                f"{card.title} at {card.gpu.pci_address} is not in the catalog",
                "update the catalog, or add its PCI id to products.toml of your own",
            )
    for card in {card.name: card for card in case.nvidia if card.generation}.values():
        if card.generation:
            made = card.product.sources if card.product else card.generation.sources
            yield because(f"{card.title} is of the {card.generation.title} generation", made)


def generations_have_a_driver_in_common(case: Case) -> Findings:
    """One driver is loaded for all GPUs of a node."""
    cards = [card for card in case.nvidia if card.generation] if case.wants_driver else []
    for one in cards:
        for other in cards:
            if not {*one.modules} & {*other.modules}:
                yield no(
                    f"{one.title} is driven by {one.modules[0]} modules only and {other.title} by "
                    f"{other.modules[0]} modules only, and a node loads one kind",
                    "put them into different nodes",
                )
                return
            last = one.generation.last_branch if one.generation else None
            first = other.generation.first_branch if other.generation else None
            if last and first and ordered(last) < ordered(first):
                yield no(
                    f"{one.title} is driven up to R{last}, and {other.title} from R{first} on",
                    "put them into different nodes",
                )
                return


def branch_drives_the_generation(case: Case, driver: Driver) -> Findings:
    """Branches leave old generations behind, and new ones begin with a branch."""
    for card in {card.name: card for card in case.nvidia}.values():
        generation = card.generation
        if generation is None:
            continue
        first, last = generation.first_branch, generation.last_branch
        if last and ordered(driver.name) > ordered(last):
            yield no(
                f"{card.title} ({generation.title}) is driven up to R{last}, not by R{driver.name}",
                f"ask for {last}",
                generation.sources,
            )
        elif first and ordered(driver.name) < ordered(first):
            yield no(
                f"{card.title} ({generation.title}) is driven from R{first} on",
                sources=generation.sources,
            )
        elif last == driver.name:
            yield warn(f"R{last} is the last for {generation.title}", generation.sources)


def driver_knows_the_product(case: Case, driver: Driver) -> Findings:
    """Some products came after the first driver of their branch."""
    for card in {card.name: card for card in case.nvidia}.values():
        product = card.product
        if product and product.driver and ordered(driver.version) < ordered(product.driver):
            yield no(f"{product.title} needs {product.driver} or newer", sources=product.sources)


def modules_drive_the_gpu(case: Case, driver: Driver) -> Findings:
    """Open modules need a GSP (Turing and later); Blackwell and later know no others."""
    for card in {card.name: card for card in case.nvidia}.values():
        if card.generation is None:
            continue
        if driver.modules not in card.modules:
            yield no(
                f"{card.title} is driven by {' or '.join(card.modules)} modules only",
                "set modules to auto",
                card.generation.sources,
            )
        else:
            yield because(
                f"{driver.modules} modules drive {card.title} ({card.generation.title})",
                card.generation.sources,
            )


def branch_has_the_modules(case: Case, driver: Driver) -> Findings:
    """Proprietary modules ended with R610 for good."""
    if driver.modules not in driver.branch.modules:
        yield no(
            f"R{driver.name} has no {driver.modules} modules",
            "set modules to auto",
            driver.branch.sources,
        )


def gpu_can_be_divided(case: Case) -> Findings:
    """MIG is a capability of some products."""
    if not case.asked.mig:
        return
    for card in {card.name: card for card in case.nvidia}.values():
        if card.product is None or not card.product.mig:
            yield no(
                f"the catalog knows of no MIG on {card.title}",
                "set mig to false",
                card.product.sources if card.product else (),
            )
        else:
            yield because(
                f"{card.title} can be divided into up to {card.product.mig} instances",
                card.product.sources,
            )


def driver_can_divide(case: Case, driver: Driver) -> Findings:
    """MIG came to each product with a driver."""
    for card in {card.name: card for card in case.nvidia}.values() if case.asked.mig else ():
        first = card.product.mig_driver if card.product else None
        if card.product and first and ordered(driver.version) < ordered(first):
            yield no(f"MIG on {card.title} needs {first} or newer", sources=card.product.sources)
