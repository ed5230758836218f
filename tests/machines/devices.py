"""A device of a container, handed to it by CDI as GPUs are, through what happens on a live node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nodeproof.lab import Machine
from nodeproof.layers.containers.settings import PROBE_IMAGE

NODE, DEVICE = "/dev/nodeproof-gpu0", "nodeproof.test/gpu=0"
SPEC = json.dumps(
    {
        "cdiVersion": "0.5.0",  # the first with devices that are called by a number
        "kind": "nodeproof.test/gpu",
        "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": NODE}]}}],
    }
)
# Like NVIDIA's, the device is made by hand. Its number is that of loop-control: no container may
# open it by default, and opening it does nothing.
MAKE = f"modprobe loop; [ -c {NODE} ] || mknod -m 666 {NODE} c 10 237; mkdir -p /var/run/cdi"
WRITE = "sudo install -m 644 /dev/stdin /var/run/cdi/nodeproof-test.json"
# A shell that waits for words keeps the container running; the image has no other program.
START = (
    "sudo {engine} run -d -i --name={name} --pull=never --network=none {options} {image} /bin/sh"
)
OPEN = "sudo {engine} exec {name} /bin/sh -c ': <{node} && echo open'"


class Devices:
    """Steps after an apply: containers with a device, and one that was not given it."""

    site: ClassVar[dict[str, Any]]

    @pytest.fixture(scope="class")
    @classmethod
    def engines(cls, machine: Machine, inventory: Path) -> list[str]:
        """Start two containers of each engine that is asked for."""
        asked = [name for name in ("podman", "docker") if cls.site["containers"][name]]
        machine.ssh("sudo sh", stdin=MAKE)
        machine.ssh(WRITE, stdin=SPEC)
        for engine in asked:
            own = {"given": f"--device={DEVICE}", "not-given": f"-v {NODE}:{NODE}"}
            for name, options in own.items():
                words = {"engine": engine, "name": name, "options": options}
                machine.ssh(START.format(**words, image=PROBE_IMAGE))
        return asked

    def opened(self, machine: Machine, engine: str, name: str) -> str:
        """Return what a container says when it opens the device."""
        done = machine.ssh(OPEN.format(engine=engine, name=name, node=NODE), check=False)
        return (done.stdout + done.stderr).strip()

    def test_a_device_is_for_those_who_were_given_it(
        self, machine: Machine, engines: list[str]
    ) -> None:
        """Else what follows would prove nothing."""
        for engine in engines:
            assert self.opened(machine, engine, "given") == "open", engine
            assert "not permitted" in self.opened(machine, engine, "not-given"), engine

    def test_a_device_survives_a_reload_of_systemd(
        self, machine: Machine, engines: list[str]
    ) -> None:
        """Devices that systemd was not told of are lost here."""
        machine.ssh("sudo systemctl daemon-reload")
        for engine in engines:
            assert self.opened(machine, engine, "given") == "open", engine
            assert "not permitted" in self.opened(machine, engine, "not-given"), engine

    def test_a_device_survives_a_restart_of_the_daemon(
        self, machine: Machine, engines: list[str]
    ) -> None:
        """And the daemon reads the specifications anew."""
        if "docker" in engines:
            machine.ssh("sudo systemctl restart docker.service")
        machine.ssh("sudo systemctl daemon-reload")
        for engine in engines:
            assert self.opened(machine, engine, "given") == "open", engine
            machine.ssh(f"sudo {engine} rm -f given not-given")
        machine.ssh(f"sudo rm {NODE} /var/run/cdi/nodeproof-test.json")
