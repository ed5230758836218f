"""Updates that never pull apart what belongs together on a node."""
