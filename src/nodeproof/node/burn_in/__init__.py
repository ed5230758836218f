"""A short burn-in of GPUs, in parts that are sent to a node as one program."""
