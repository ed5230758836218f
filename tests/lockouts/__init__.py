"""Attempts to lock ourselves out: bad changes that no layer would make, and how they must end."""
