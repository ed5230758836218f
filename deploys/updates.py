"""The updates layer alone. Run: pyinfra INVENTORY deploys/updates.py"""

from nodeproof.engine.site import site

site("updates")
