"""What the machines of the group `nodes` should be: one dictionary a layer, {} for its defaults.

Leave a layer out and nodeproof does not touch what it is about.
"""

system = {
    "timezone": "Etc/UTC",
    # "users": {"alice": {"sudo": "passwordless", "keys": ["ssh-ed25519 AAAA... alice@laptop"]}},
    # "other_admins": "keep",  # the default removes administrators that are not named in users
}

ssh = {}

containers = {"podman": True, "docker": False}

confinement = {}
