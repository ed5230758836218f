"""Disposable test machines: virtual machines, and container nodes for the fast tests."""

from nodeproof.lab.container import ContainerNode, containers
from nodeproof.lab.inventory import inventory_hosts
from nodeproof.lab.lab import Lab
from nodeproof.lab.machine import Machine

__all__ = ["ContainerNode", "Lab", "Machine", "containers", "inventory_hosts"]
