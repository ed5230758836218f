"""The machines. A host is a name, or a name with how it is reached; a group is a list."""

nodes = [
    ("node1", {"ssh_hostname": "192.0.2.11"}),
    ("node2", {"ssh_hostname": "192.0.2.12"}),
]
