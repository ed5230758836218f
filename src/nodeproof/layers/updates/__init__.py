"""Security updates that cannot break the GPU stack."""
