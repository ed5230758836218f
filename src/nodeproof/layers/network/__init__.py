"""The host firewall."""
