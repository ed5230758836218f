"""The rules in the order in which they are asked: what stands first is said first."""

from __future__ import annotations

from collections.abc import Callable

from nodeproof.catalog.model.stack import IntelRelease, RocmRelease
from nodeproof.catalog.resolve.case import Case, Driver, Findings
from nodeproof.catalog.resolve.rules import (
    beside,
    cuda,
    hardware,
    hosts,
    intel,
    places,
    present,
    rocm,
    support,
)

OfHost = Callable[[Case], Findings]
OfDriver = Callable[[Case, Driver], Findings]
OfRocm = Callable[[Case, str, RocmRelease], Findings]
OfIntel = Callable[[Case, str, IntelRelease], Findings]

HOST: tuple[OfHost, ...] = (
    hosts.facts_are_whole,
    hosts.platform_takes_packages,
    hosts.processor_is_known,
    hosts.system_is_known,
    hardware.driver_has_a_gpu,
    hardware.gpu_is_known,
    hardware.generations_have_a_driver_in_common,
    hardware.gpu_can_be_divided,
    present.present_driver_may_stay_or_go,
    present.kept_driver_is_in_the_catalog,
    present.nouveau_gives_way,
    places.source_is_there,
    hosts.kernel_is_validated,
    places.key_is_pinned,
    places.secure_boot_lets_it_load,
    beside.fabric_is_managed,
    cuda.toolkits_are_known,
    beside.container_toolkit_is_safe,
    beside.container_toolkit_is_for_the_system,
)
DRIVER: tuple[OfDriver, ...] = (
    present.kept_driver_is_what_is_asked,
    hardware.branch_drives_the_generation,
    hardware.driver_knows_the_product,
    hardware.branch_has_the_modules,
    hardware.modules_drive_the_gpu,
    hardware.driver_can_divide,
    support.branch_is_maintained,
    support.advisories_are_met,
    places.branch_is_built_for_the_system,
    places.kernel_is_not_in_conflict,
    present.driver_does_not_go_back,
    present.nothing_is_on_hold,
    present.no_module_is_left_over,
    beside.companions_match_the_driver,
    beside.network_reaches_gpu_memory,
    cuda.toolkits_run_on_the_driver,
)
ROCM: tuple[OfRocm, ...] = (
    rocm.release_is_for_production,
    rocm.matrix_is_known,
    rocm.processor_is_supported,
    rocm.target_is_compiled,
    rocm.system_is_supported,
    rocm.kernel_is_supported,
    rocm.advisories_are_met,
    rocm.repository_is_proven,
)
INTEL: tuple[OfIntel, ...] = (
    intel.one_kind_is_meant,
    intel.release_is_for_the_product,
    intel.processor_is_supported,
    intel.system_is_supported,
    intel.kernel_is_supported,
    intel.repository_is_proven,
)


def rule_id(rule: Callable[..., Findings]) -> str:
    """Return a rule's id: cuda.toolkits-are-known."""
    return f"{rule.__module__.rpartition('.')[2]}.{rule.__name__.replace('_', '-')}"


EVERY: tuple[Callable[..., Findings], ...] = (*HOST, *DRIVER, *ROCM, *INTEL)
IDS = tuple(rule_id(rule) for rule in EVERY)
