"""The running machines of a lab (`nodeproof lab up`); NODEPROOF_LAB names another lab."""

import os

from nodeproof.lab import inventory_hosts

nodes = inventory_hosts(os.environ.get("NODEPROOF_LAB", "lab"))
