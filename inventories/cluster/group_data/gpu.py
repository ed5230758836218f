"""The GPU nodes: jobs run in Podman's containers, and under the profile nodeproof-workload."""

# What would stop these is left out, and recorded.
roles = ["containers", "gpu-dkms", "slurm", "training"]

system = {"ntp_servers": ["head1"]}

kernel = {}

# Ranks of jobs, and the exporters, are reached from the racks' network only.
network = {"trusted": {"racks": ["10.0.0.0/16"]}, "services": ["monitoring"]}

gpu = {"driver": "lts", "dcgm": True}

cuda = {"toolkits": ["13", "12"], "nccl": True}

containers = {"podman": True, "docker": False, "cdi": True}

audit = {"model_folders": ["/srv/models"]}

confinement = {
    "model_dirs": ["/srv/models"],
    "scratch_dirs": ["/srv/scratch"],
    "devices": ["/dev/nvidia*", "/dev/nvidia-caps/*"],
}

hardening = {}

updates = {"window": "Sat,Sun 22:00-04:00"}
