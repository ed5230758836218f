"""The GPU nodes: jobs run in Podman's containers, and under the profile nodeproof-workload."""

system = {"ntp_servers": ["head1"]}

gpu = {"driver": "lts", "dcgm": True}

cuda = {"toolkits": ["13", "12"], "nccl": True}

containers = {"podman": True, "docker": False, "cdi": True}

confinement = {
    "model_dirs": ["/srv/models"],
    "scratch_dirs": ["/srv/scratch"],
    "devices": ["/dev/nvidia*", "/dev/nvidia-caps/*"],
}

updates = {"window": "Sat,Sun 22:00-04:00"}
