"""The intel layer alone. Run: pyinfra INVENTORY deploys/intel.py"""

from nodeproof.engine.site import site

site("intel")
