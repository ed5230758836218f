"""A lab: named virtual machines that come and go together."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from nodeproof.errors import RefusedError, UsageError
from nodeproof.lab import accel, identity, image, network, qemu, requirements, spec, ssh, store
from nodeproof.lab.machine import READY, Machine

log = logging.getLogger(__name__)


class Lab:
    """The lab called ``name``, kept in ``state_dir`` (default: ``store.labs_dir()``)."""

    def __init__(self, name: str = "lab", state_dir: Path | None = None) -> None:
        """Name a lab; nothing is made or read yet."""
        self.name = spec.check_name(name, what="lab")
        self.folder = (state_dir or store.labs_dir()).absolute() / name

    @property
    def key(self) -> Path:
        """Return the private key that opens every machine of this lab."""
        return self.folder / "id_ed25519"

    def machines(self) -> list[Machine]:
        """Return the machines that were made, running or not, by name."""
        found = []
        for folder in sorted(self.folder.glob("*/")):
            if kept := spec.load(folder):
                found.append(Machine(folder, self.key, kept))
        return found

    def machine(self, name: str) -> Machine:
        """Return one machine; raise UsageError where the lab has none of that name."""
        machines = {machine.name: machine for machine in self.machines()}
        if name not in machines:
            known = ", ".join(machines) or "none"
            raise UsageError(
                f"lab {self.name}: has no machine {name!r}", hint=f"Its machines: {known}."
            )
        return machines[name]

    def up(
        self,
        names: Sequence[str],
        *,
        distribution: str = "debian-13",
        cpus: int = 1,
        memory_mb: int = 2048,
        preinstall: Sequence[str] = (),
    ) -> list[Machine]:
        """Make and start the machines ``names`` and wait until ssh works on each.

        Machines that run already are left alone; one whose QEMU is gone is started again.
        """
        for name in names:
            spec.check_name(name, what="machine")
        require_tools()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with store.locked(self.folder / ".lock"):
            wanted = spec.Spec(
                *("", 0, 0, distribution, tuple(sorted(preinstall)), cpus, memory_mb, ""),
                network.multicast_group(str(self.folder)),
            )
            machines = self._known_or_made(names, wanted)
            self._start(machines)
        return machines

    def down(self, names: Sequence[str] = (), *, purge: bool = False) -> list[str]:
        """Shut the named machines down (default: all), and return which ones ran.

        With ``purge`` their disks are removed, and the lab with its last machine.
        """
        chosen = [self.machine(name) for name in names] if names else self.machines()
        running = [machine for machine in chosen if machine.running]
        if not purge:
            for machine in running:
                machine.shut_down()
        for machine in running:
            log.info("%s: stopping", machine.name)
            machine.down(seconds=0 if purge else 90)
        if purge:
            for machine in chosen:
                shutil.rmtree(machine.folder)
            if self.folder.exists() and not self.machines():
                shutil.rmtree(self.folder)
        return [machine.name for machine in running]

    def _known_or_made(self, names: Sequence[str], wanted: spec.Spec) -> list[Machine]:
        known = {machine.name: machine for machine in self.machines()}
        new = [name for name in names if name not in known]
        for name in set(names) - set(new):
            self._refuse_other_shape(known[name].spec, wanted)
        if new:
            built = image.disk_image(wanted.distribution, wanted.preinstall)
            made = self._specs(new, wanted, built, [machine.spec for machine in known.values()])
            peers = {each.name: network.private_address(each.index) for each in made}
            peers |= {name: machine.private_address for name, machine in known.items()}
            for each in made:
                known[each.name] = self._make(each, peers)
        return [known[name] for name in dict.fromkeys(names)]

    def _specs(
        self,
        names: Sequence[str],
        wanted: spec.Spec,
        built: image.Image,
        known: Sequence[spec.Spec],
    ) -> list[spec.Spec]:
        indexes = {each.index for each in known}
        ports = {each.ssh_port for each in known}
        specs = []
        for name in names:
            indexes.add(index := network.free_index(indexes))
            ports.add(port := network.free_port(ports))
            changes = {"name": name, "index": index, "ssh_port": port, "image": str(built.folder)}
            specs.append(spec.Spec(**{**vars(wanted), **changes}))
        return specs

    def _make(self, new: spec.Spec, peers: dict[str, str]) -> Machine:
        """Make a machine's folder; what an interrupted run left there is removed."""
        folder = self.folder / new.name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        authorized = ssh.make_key(self.key, f"nodeproof-lab-{self.name}")
        ssh.make_key(folder / "host_key", new.name)
        own = identity.Identity(
            name=new.name,
            host_key=folder / "host_key",
            authorized=authorized,
            interfaces=identity.virtual_interfaces(new.index),
            resolver=f"nameserver {network.MANAGEMENT_RESOLVER}\n",
            peers=peers,
        )
        store.write_private(folder / qemu.IDENTITY, own.archive())
        qemu.make_overlay(folder, image.Image(Path(new.image)))
        new.save(folder)
        return Machine(folder, self.key, new)

    def _start(self, machines: Sequence[Machine]) -> None:
        stopped = [machine for machine in machines if not machine.running]
        if not stopped:
            log.info("lab %s: all of its machines run already", self.name)
        for machine in stopped:
            self._check_image(machine.spec)
        if stopped:
            used = image.Image(Path(stopped[0].spec.image))
            log.info("acceleration: %s", accel.choose(used.kernel, used.initrd))
        for machine in stopped:
            log.info("%s: starting", machine.name)
            machine.start()
        unfinished = [machine for machine in machines if READY not in machine.spec.snapshots]
        for machine in machines:
            if machine in stopped or machine in unfinished:
                log.info("%s: ssh after %.0f s", machine.name, machine.wait())
                machine.set_clock()
        for machine in unfinished:
            machine.wait_booted()
            started = time.monotonic()
            machine.snapshot(READY)
            log.info("%s: snapshot taken in %.1f s", machine.name, time.monotonic() - started)

    def _refuse_other_shape(self, known: spec.Spec, wanted: spec.Spec) -> None:
        """Refuse what cannot be changed about a machine that exists."""
        shapes = [(each.distribution, " ".join(each.preinstall)) for each in (known, wanted)]
        for word, has, asked in zip(("distribution", "preinstall"), *shapes, strict=True):
            if has != asked:
                raise RefusedError(
                    f"{known.name}: its {word} is {has or 'empty'}; asked was {asked or 'empty'}",
                    hint=f"Ask for the same, or remove it: {self._purge(known.name)}",
                )
        if (known.cpus, known.memory_mb) != (wanted.cpus, wanted.memory_mb):
            log.info("%s: keeps %d processors, %d MB", known.name, known.cpus, known.memory_mb)

    def _check_image(self, known: spec.Spec) -> None:
        if not Path(known.image).is_dir():
            raise UsageError(
                f"{known.name}: its image {known.image} is gone",
                hint=f"Remove the machine: {self._purge(known.name)}",
            )

    def _purge(self, name: str) -> str:
        return spec.command("down", self.name, "--purge", name)


def require_tools() -> None:
    """Raise UsageError where the host lacks something that a lab of machines needs."""
    qemu_tool = requirements.QEMU_ARM if image.architecture() == "arm64" else requirements.QEMU_X86
    tools = [
        *(qemu_tool, requirements.QEMU_IMG, requirements.MMDEBSTRAP, requirements.MKE2FS),
        *(requirements.SSH, requirements.SSH_KEYGEN, requirements.KEYRING),
    ]
    if os.geteuid() != 0:
        tools.append(requirements.NEWUIDMAP)
    requirements.require(tools, what="lab")
