"""The system layer alone. Run: pyinfra INVENTORY deploys/system.py"""

from nodeproof.engine.site import site

site("system")
