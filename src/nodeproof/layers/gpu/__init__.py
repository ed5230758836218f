"""NVIDIA's GPUs: one driver with all that belongs to it, held together, and proven as it runs."""
