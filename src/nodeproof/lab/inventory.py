"""The machines of a lab as hosts of a pyinfra inventory."""

from __future__ import annotations

from nodeproof.errors import UsageError
from nodeproof.lab import spec
from nodeproof.lab.lab import Lab


def inventory_hosts(name: str = "lab") -> list[tuple[str, dict[str, object]]]:
    """Return a host and its connection data for every running machine of the lab ``name``.

    Raises UsageError where none runs: an empty inventory would look like success.
    """
    machines = [machine for machine in Lab(name).machines() if machine.running]
    if not machines:
        raise UsageError(f"lab {name}: no machine runs", hint=f"Run: {spec.command('up', name)}")
    return [
        (
            machine.name,
            {
                "ssh_hostname": machine.address,
                "ssh_port": machine.ssh_port,
                "ssh_user": machine.user,
                "ssh_key": str(machine.key),
                "ssh_known_hosts_file": str(machine.known_hosts),
                "ssh_strict_host_key_checking": "yes",
            },
        )
        for machine in machines
    ]
