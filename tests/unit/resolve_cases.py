"""The tables of tests/resolve: what a case means, so that tests and properties build the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.machine import Machine, machine
from nodeproof.catalog.whole import Catalog, shipped

TABLES = Path(__file__).parent.parent / "resolve"
TODAY = date(2026, 11, 23)
KEYS = {
    *("case", "machine", "ask", "gives", "refused", "nearest", "says", "warns", "quiet", "because"),
    *("step", "with", "today", "catalog", "class", "table"),
}
KERNELS = {
    "ubuntu-22_04": "5.15.0-160-generic",
    "ubuntu-24_04": "6.8.0-90-generic",
    "ubuntu-26_04": "7.0.0-25-generic",
    "debian-12": "6.1.0-50-amd64",
    "debian-13": "6.12.73+deb13-amd64",
    "rhel-8": "4.18.0-553.50.1.el8_10.x86_64",
    "rhel-9": "5.14.0-687.51.1.el9_8.x86_64",
    "rhel-10": "6.12.0-211.7.1.el10_2.x86_64",
}
VENDORS = {"nvidia": "10de", "amd": "1002", "intel": "8086", "habana": "1da3"}


@cache
def cases() -> tuple[Mapping[str, Any], ...]:
    """Return every case, with the table that it is of."""
    return tuple(_cases())


def _cases() -> Iterator[Mapping[str, Any]]:
    for path in sorted(TABLES.glob("*.yaml")):
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            yield {**case, "table": path.stem}


def a_machine(on: Mapping[str, Any], pci_class: str = "030200") -> Machine:
    """Return the machine of a case: its GPUs by product, PCI id or PCI id and name."""
    where = on.get("os", "ubuntu-24_04")
    os_id, os_version = (
        where.split(" ", 1)
        if " " in where
        else (shipped().systems[where].os_ids[0], shipped().systems[where].os_version)
    )
    facts = {
        "gpus": [gpu(one, slot, pci_class) for slot, one in enumerate(on["gpus"])],
        "nvswitches": on.get("nvswitches", 0),
        "driver": driver(on["driver"]) if "driver" in on else None,
        "secure_boot": on.get("secure_boot", False),
        "kernel": on.get("kernel", KERNELS.get(where, "6.8.0-90-generic")),
        "kernel_headers": on.get("headers", True),
        "arch": on.get("arch", "x86_64"),
        "platform": on.get("platform", "bare"),
        "l4t": on.get("l4t", ""),
        "preinstalled": on.get("preinstalled", ""),
        "nouveau_loaded": on.get("nouveau", False),
        "held": on.get("held", []),
        "dkms": [
            {"name": one.split("/")[0], "version": one.split("/")[1], "state": "installed"}
            for one in on.get("dkms", [])
        ],
    }
    return machine({"os_id": os_id, "os_version": os_version, "accelerators": facts}, "a case")


def gpu(said: str, slot: int, pci_class: str) -> dict[str, Any]:
    """Return one GPU: a product's id, or `vendor:device`, or that and a name."""
    product = shipped().products.get(said)
    ids, _, name = said.partition(" ")
    vendor, device = (VENDORS[product.vendor], product.devices[0]) if product else ids.split(":", 1)
    return {
        "pci_address": f"0000:{slot + 1:02x}:00.0",
        "vendor_id": vendor,
        "device_id": device,
        "class_code": pci_class,
        "name": name or None,
    }


def driver(said: str) -> dict[str, Any]:
    """Return an installed driver: version, origin, flavour."""
    version, origin, flavour = said.split(" ")
    return {"version": version, "origin": origin, "flavour": flavour, "loaded": True}


def asked(case: Mapping[str, Any]) -> Asked:
    """Return what a case asks for."""
    return Asked.model_validate(case.get("ask", {}))


def a_catalog(changes: Mapping[str, Any]) -> Catalog:
    """Return the shipped catalog as it was on a day, or with something else in it."""
    tables = shipped().model_dump()
    for change, value in changes.items():
        if change == "until":
            tables["advisories"] = {
                name: one for name, one in tables["advisories"].items() if one["published"] <= value
            }
        elif change == "floors":
            newest = tables["advisories"]["nvidia-5861"]
            tables["advisories"]["nvidia-9999"] = {
                **newest,
                "published": date(2026, 11, 20),
                "fixed": value,
            }
        elif change == "first_branch":
            for name, branch in value.items():
                tables["systems"][name]["first_branch"] = branch
        elif change == "ended":
            for name, day in value.items():
                tables["systems"][name]["end_of_life"] = day
        elif change == "gdrcopy":
            gdrcopy = tables["companions"]["gdrcopy"]
            gdrcopy["kernel"] = dict.fromkeys(gdrcopy["versions"], value)
        else:
            raise ValueError(f"a case changes {change}, which no catalog has")
    return Catalog.model_validate(tables)
