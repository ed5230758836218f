"""One question: what is asked, of which machine, by which catalog, on which day."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

from nodeproof.catalog.model.base import Cpu, Modules, Vendor
from nodeproof.catalog.model.driver import Branch
from nodeproof.catalog.model.hardware import Architecture, Product
from nodeproof.catalog.model.places import Packages, Repository, System
from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.machine import Machine
from nodeproof.catalog.versions import branch_of, is_in_series
from nodeproof.catalog.whole import Catalog
from nodeproof.facts.accelerators import Accelerators, Gpu

VENDORS: dict[str, Vendor] = {"10de": "nvidia", "1002": "amd", "8086": "intel", "1da3": "habana"}
_ACCELERATES = ("03", "12")
"""PCI classes of display controllers and processing accelerators."""
_CHIP = re.compile(r"\b([A-Z]{2})[0-9]{2,3}[A-Z]*\b")


@dataclass(frozen=True)
class Finding:
    """What one rule says: that it does not work, why it does, or what to know."""

    kind: Literal["no", "because", "warning"]
    text: str
    hint: str = ""
    sources: tuple[str, ...] = ()


Findings = Iterator[Finding]


def no(text: str, hint: str = "", sources: tuple[str, ...] = ()) -> Finding:
    """Object."""
    return Finding("no", text, hint, sources)


def because(text: str, sources: tuple[str, ...] = ()) -> Finding:
    """Give a reason."""
    return Finding("because", text, "", sources)


def warn(text: str, sources: tuple[str, ...] = ()) -> Finding:
    """Say what is to be known, and does not stand in the way."""
    return Finding("warning", text, "", sources)


@dataclass(frozen=True)
class Card:
    """An accelerator and what the catalog knows of it."""

    gpu: Gpu
    vendor: Vendor
    product: Product | None
    name: str
    """The id of the product, or of its generation."""
    generation: Architecture | None

    @property
    def title(self) -> str:
        """What a person calls it."""
        if self.product:
            return self.product.title
        return self.gpu.name or f"PCI device {self.gpu.vendor_id}:{self.gpu.device_id}"

    @property
    def modules(self) -> tuple[Modules, ...]:
        """The kernel modules that drive it, best first."""
        if self.product and self.product.modules:
            return self.product.modules
        return self.generation.modules if self.generation else ()

    @property
    def is_data_center(self) -> bool:
        """Whether the catalog knows it for a data-center product."""
        return self.product is not None and self.product.data_center


@dataclass(frozen=True)
class Driver:
    """One candidate: a version with one kind of modules, from one kind of place."""

    version: str
    name: str
    """Of its branch."""
    branch: Branch
    modules: Modules
    kept: bool = False

    def __str__(self) -> str:
        return f"driver {self.version} with {self.modules} modules"


@dataclass(frozen=True)
class Case:
    """The whole question."""

    asked: Asked
    machine: Machine
    catalog: Catalog
    today: date

    @property
    def has(self) -> Accelerators:
        """What is on the machine."""
        return self.machine.accelerators

    @property
    def present(self) -> Driver | None:
        """The driver that is installed, where the catalog knows its branch."""
        installed = self.has.driver
        name = branch_of(installed.version) if installed else ""
        branch = self.catalog.branches.get(name)
        if installed is None or branch is None or installed.flavour == "unknown":
            return None
        return Driver(installed.version, name, branch, installed.flavour, kept=True)

    @property
    def wants_driver(self) -> bool:
        """Whether an NVIDIA driver is asked for; a machine of others' alone has no use for one."""
        others = self.wants_rocm or self.wants_intel
        return self.asked.driver != "none" and (bool(self.nvidia) or not others)

    @property
    def wants_rocm(self) -> bool:
        """Whether ROCm is asked for."""
        return self.asked.rocm != "none"

    @property
    def wants_intel(self) -> bool:
        """Whether a release for Intel's GPUs, or for Gaudi, is asked for."""
        return self.asked.intel != "none"

    @cached_property
    def cards(self) -> tuple[Card, ...]:
        """Accelerators of vendors that the catalog is about, in the order of the bus."""
        found = (self._card(gpu) for gpu in self.has.gpus if gpu.vendor_id in VENDORS)
        return tuple(card for card in found if card.gpu.class_code[:2] in ("", *_ACCELERATES))

    @cached_property
    def nvidia(self) -> tuple[Card, ...]:
        """NVIDIA's."""
        return tuple(card for card in self.cards if card.vendor == "nvidia")

    @cached_property
    def amd(self) -> tuple[Card, ...]:
        """AMD's that are made to compute; a processor's own graphics are not."""
        return tuple(card for card in self.cards if card.vendor == "amd" and card.generation)

    @cached_property
    def intel(self) -> tuple[Card, ...]:
        """Intel's that are made to compute, Gaudi among them."""
        found = (card for card in self.cards if card.vendor in ("intel", "habana"))
        return tuple(card for card in found if card.product)

    def _card(self, gpu: Gpu) -> Card:
        vendor = VENDORS[gpu.vendor_id]
        for name, product in self.catalog.products.items():
            if product.vendor == vendor and gpu.device_id in product.devices:
                generation = self.catalog.architectures[product.architecture]
                return Card(gpu, vendor, product, name, generation)
        for chip in _CHIP.findall(gpu.name or "") if vendor == "nvidia" else ():
            for name, generation in self.catalog.architectures.items():
                if generation.vendor == vendor and chip in generation.chips:
                    return Card(gpu, vendor, None, name, generation)
        return Card(gpu, vendor, None, "", None)

    @cached_property
    def at(self) -> tuple[str, System] | None:
        """The distribution's id and entry, or none where the catalog has none."""
        for name, system in self.catalog.systems.items():
            if self.machine.os_id in system.os_ids and is_in_series(
                self.machine.os_version, system.os_version
            ):
                return name, system
        return None

    @property
    def system(self) -> System:
        """The distribution; asked for only after the rule that it is known."""
        if self.at is None:
            raise LookupError(f"{self.machine.title} is not in the catalog")
        return self.at[1]

    @property
    def cpu(self) -> Cpu | None:
        """The processor's architecture, where the catalog is about it."""
        known: dict[str, Cpu] = {"x86_64": "x86_64", "aarch64": "aarch64"}
        return known.get(self.has.arch)

    @cached_property
    def repository(self) -> tuple[str, Repository] | None:
        """NVIDIA's repository for this distribution on this processor."""
        if self.at is None or self.cpu is None or self.cpu not in self.system.cuda:
            return None
        name = self.system.cuda[self.cpu]
        return name, self.catalog.repositories[name]

    @cached_property
    def packages(self) -> Packages | None:
        """Names of packages at the source that is asked for, or none where it has none."""
        if self.at is None:
            return None
        if self.asked.source == "vendor":
            return self.catalog.packages[self.system.packages]
        for one in self.catalog.packages.values():
            if self.at[0] in one.archive and self.has.arch in one.architectures:
                return one
        return None

    @property
    def archive(self) -> Mapping[str, str]:
        """Branch to the version that the distribution itself has, where that is asked for."""
        if self.asked.source == "vendor" or self.packages is None or self.at is None:
            return {}
        return self.packages.archive[self.at[0]]
