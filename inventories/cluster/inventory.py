"""An example cluster: a login node, a head node, and eight GPU nodes in two racks."""


def _node(name: str, address: str) -> tuple[str, dict[str, object]]:
    return name, {"ssh_hostname": address, "system": {"hostname": name}}


login = [_node("login1", "192.0.2.10")]
head = [_node("head1", "192.0.2.11")]

gpu = [_node(f"gpu{number:03}", f"198.51.100.{number}") for number in range(1, 9)]

# Groups that are named later are nearer: what a rack says wins over what gpu says.
rack1 = gpu[:4]
rack2 = gpu[4:]
