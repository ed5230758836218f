"""Turn a bare Linux machine into an AI node, harden it, and prove it."""

__version__ = "0.1.0"
