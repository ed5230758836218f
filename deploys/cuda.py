"""The cuda layer alone. Run: pyinfra INVENTORY deploys/cuda.py"""

from nodeproof.engine.site import site

site("cuda")
