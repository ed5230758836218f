"""The login node: researchers come in here, and reach their notebooks through it."""

system = {
    "ntp_servers": ["head1"],
    "users": {
        "bob": {
            "groups": ["researchers"],
            "keys": [
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPJ0LCsyHIpKTHQZJ66OkyfzfUcpFiUMXWL30L67z8My"
                " bob@example"
            ],
        },
    },
}

ssh = {"allow_groups": ["ops", "admins", "researchers"], "tcp_forwarding": True}
