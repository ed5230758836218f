"""Everything that the inventory asks for. Run: pyinfra INVENTORY deploys/site.py"""

from nodeproof.engine.site import site

site()
