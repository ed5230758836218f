"""The audit layer alone. Run: pyinfra INVENTORY deploys/audit.py"""

from nodeproof.engine.site import site

site("audit")
