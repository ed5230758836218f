"""Packages, time, host name, accounts, and who may become root."""
