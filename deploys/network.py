"""The network layer alone. Run: pyinfra INVENTORY deploys/network.py"""

from nodeproof.engine.site import site

site("network")
