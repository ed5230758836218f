"""What hardening sets, by level, and where a node's work makes it otherwise."""
