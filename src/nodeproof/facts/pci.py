"""Which devices on the PCI bus are accelerators, and which are NVSwitches."""

from __future__ import annotations

from collections.abc import Mapping

from nodeproof.facts.accelerators import Gpu

VENDORS = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel", "1da3": "Habana", "1ae0": "Google"}
"""PCI vendors of accelerators; source: the PCI ID database, https://pci-ids.ucw.cz."""

INTEL = frozenset(
    {
        *("0bd0", "0bd4", "0bd5", "0bd6", "0bd7", "0bd8", "0bd9", "0bda", "0bdb"),
        *("56c0", "56c1", "56c2"),
        *("e211", "e212"),
    }
)
"""Intel's Data Center GPU Max and Flex, and Arc Pro B60 and B50; its other display devices are no
accelerators here.
Source: the PCI ID database, and pciids.h of intel/intel-graphics-compiler for 0bd4 and 56c2."""

TPUS = frozenset({"0027", "0056", "005e", "0062", "0063", "006f", "0076"})
"""TPU v2 to v7 in TPU VMs; Google's other devices are network cards and disks.
Source: jax/_src/hardware_utils.py of jax-ml/jax (0076 from its later versions)."""

NVSWITCHES = frozenset({"1ac2", "1af1", "22a3"})
"""NVSwitches of V100, A100 and H100 boards; NVIDIA's other bridges are of old mainboards.
Source: the PCI ID database."""


def gpus(said: Mapping[str, list[str]]) -> list[Gpu]:
    """Return the accelerators that the node listed, in the order of the bus."""
    models = dict(line.split(maxsplit=1) for line in said.get("model", ()) if " " in line.strip())
    names = {tuple(line.split(maxsplit=2)[:2]): line for line in said.get("pci_name", ())}
    found = []
    for line in said.get("pci", ()):
        words = line.split()
        if len(words) != 6 or not _accelerates(words[1], words[2]):
            continue
        address, vendor, device, subsystem, class_code, driver = words
        named = names.get((vendor, device), "").split(maxsplit=2)[2:]
        known = " ".join([VENDORS[vendor], *named]) if named else None
        found.append(
            Gpu(
                pci_address=address,
                vendor_id=vendor,
                device_id=device,
                subsystem_id=subsystem,
                class_code=class_code,
                driver_in_use=None if driver == "-" else driver,
                name=models.get(address) or known,
            )
        )
    return found


def nvswitches(said: Mapping[str, list[str]]) -> int:
    """Return how many there are: by the PCI bus, by their driver, or by NVLink 5's bridges."""
    on_bus = [line for line in said.get("nvswitch", ()) if line.split(" ")[0] in NVSWITCHES]
    return max(len(on_bus), len(said.get("nvswitch_proc", ())), len(said.get("nvlink5", ())))


def _accelerates(vendor: str, device: str) -> bool:
    if vendor == "8086":
        return device in INTEL
    if vendor == "1ae0":
        return device in TPUS
    return vendor in VENDORS
