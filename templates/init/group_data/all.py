"""For every machine: how it is reached. `nodeproof settings` lists what else may stand here."""

ssh_user = "ops"
ssh_strict_host_key_checking = "yes"  # enrol keys with: nodeproof trust inventory.py

_sudo = True  # for plain pyinfra; nodeproof becomes root by itself
