"""The gpu layer alone. Run: pyinfra INVENTORY deploys/gpu.py"""

from nodeproof.engine.site import site

site("gpu")
