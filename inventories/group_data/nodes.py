"""The example site: what a machine of the group `nodes` should be."""

system = {
    "timezone": "Etc/UTC",
    "packages": ["rsync"],
    "users": {
        "trainer": {"groups": ["ml"]},
    },
}

ssh = {"max_sessions": 20}

containers = {"podman": True}  # and "docker": True where you need it

confinement = {"model_dirs": ["/srv/models"]}
