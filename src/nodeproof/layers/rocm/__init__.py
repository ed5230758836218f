"""AMD's GPUs: their driver and ROCm releases side by side, held, and proven as they run."""
