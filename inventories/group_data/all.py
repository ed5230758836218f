"""For every inventory beside this folder."""

ssh_strict_host_key_checking = "yes"
_sudo = True  # for plain pyinfra; nodeproof becomes root by itself
