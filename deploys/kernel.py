"""The kernel layer alone. Run: pyinfra INVENTORY deploys/kernel.py"""

from nodeproof.engine.site import site

site("kernel")
