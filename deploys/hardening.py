"""The hardening layer alone. Run: pyinfra INVENTORY deploys/hardening.py"""

from nodeproof.engine.site import site

site("hardening")
