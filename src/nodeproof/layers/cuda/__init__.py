"""CUDA toolkits side by side: one is the default, none is newer than the driver can bear."""
