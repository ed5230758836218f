"""The ssh layer alone. Run: pyinfra INVENTORY deploys/ssh.py"""

from nodeproof.engine.site import site

site("ssh")
