"""The confinement layer alone. Run: pyinfra INVENTORY deploys/confinement.py"""

from nodeproof.engine.site import site

site("confinement")
