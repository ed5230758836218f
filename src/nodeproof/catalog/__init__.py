"""What exists in the world: data with sources, and pure functions over it."""
