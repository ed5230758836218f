"""The rocm layer alone. Run: pyinfra INVENTORY deploys/rocm.py"""

from nodeproof.engine.site import site

site("rocm")
