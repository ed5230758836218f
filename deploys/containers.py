"""The containers layer alone. Run: pyinfra INVENTORY deploys/containers.py"""

from nodeproof.engine.site import site

site("containers")
