"""The fault campaign: what goes wrong during an apply must leave nothing lost."""
