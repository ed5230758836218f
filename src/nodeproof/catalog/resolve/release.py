"""What is the same for the releases of every maker: whom they are for, and what is in the way."""

from __future__ import annotations

from nodeproof.catalog.resolve.choice import Refusal
from nodeproof.catalog.resolve.image import Booting, booting
from nodeproof.catalog.resolve.machine import Machine, of_node
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts


def machine_for(image: Booting | None, node: NodeFacts, has: Accelerators) -> Machine:
    """Return the machine that is meant: this one, or those that an image is for."""
    if image is None:
        return of_node(node, has)
    return of_node(node, booting(image.gpus, image.kernel, image.secure_boot, has))


def kernel_unknown(image: Booting | None, machine: Machine) -> Refusal | None:
    """Object to an image whose kernel nobody named, and nobody can ask."""
    if image is None or machine.accelerators.kernel:
        return None
    return Refusal(
        rule="hosts.facts-are-whole",
        text="an image that is made in a container has no kernel that could be asked",
        hint="set image.kernel to the one that its machines boot",
    )


def unsigned(machine: Machine, secure_boot: str, rule: str) -> Refusal | None:
    """Object to a module that DKMS builds where Secure Boot lets none but signed ones in."""
    secure = machine.accelerators.secure_boot
    if secure is False or secure_boot == "mok":
        return None
    is_on = "is on" if secure else "could not be read"
    return Refusal(
        rule=rule,
        text=f"Secure Boot {is_on}, and a module that is built here is not signed",
        hint="set secure_boot to mok and enrol the key at the console, or driver to kernel",
    )
