"""Podman and Docker: hardened, able to hand out devices, proven by a container that really runs."""
