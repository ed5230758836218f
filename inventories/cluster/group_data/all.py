"""For every node: how it is reached, who administers it, and what it is at least."""

ssh_user = "ops"
ssh_strict_host_key_checking = "yes"  # enrol keys with: nodeproof trust inventory.py

_sudo = True  # for plain pyinfra; nodeproof becomes root by itself

# Example keys: nobody has their private halves. The user who connects (ops) is not named here, so
# its keys are left alone.
system = {
    "timezone": "Etc/UTC",
    "packages": ["rsync", "htop"],
    "users": {
        "alice": {
            "sudo": "passwordless",
            "groups": ["admins"],
            "keys": [
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDgFwG5KBw4JFHYmnSUTcAAyNZA1rB4IKDg1HF2TikiI"
                " alice@example"
            ],
        },
        "mallory": {"present": False},
    },
}

ssh = {"allow_groups": ["ops", "admins"]}
