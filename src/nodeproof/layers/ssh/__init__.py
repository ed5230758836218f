"""The OpenSSH server, hardened."""
