"""Package repositories as they are asked for: whose key signs them, what they may supply."""
