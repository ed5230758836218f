"""The kernel: its parameters, the modules it may load, core dumps and limits."""
