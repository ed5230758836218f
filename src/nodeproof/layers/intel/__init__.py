"""Intel's GPUs for data centers, and Gaudi: driver, software, held, and proven as they run."""
