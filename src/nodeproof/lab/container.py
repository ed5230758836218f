"""Container nodes: machines for the fast tests, ready in about a second.

They have a systemd, an sshd, users and packages of their own, and the host's kernel: no kernel
settings, no modules, no AppArmor, no audit. What needs those needs a virtual machine.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nodeproof.errors import NodeproofError, RefusedError, UnreachableError
from nodeproof.lab import bridge, guest, lease, nspawn, requirements, spec, ssh, store, tree
from nodeproof.lab.identity import Identity, Interface

log = logging.getLogger(__name__)
BOOT_SECONDS = 60
STOP_SECONDS = 20


class ContainerNode:
    """One container node on an overlay of its own; ``containers`` makes them."""

    ssh_port = 22
    user = guest.USER

    def __init__(self, name: str, taken: lease.Lease, key: Path) -> None:
        """Take a node's name, its lease and the key that opens it."""
        self.name = name
        self.key = key
        self._lease = taken
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Return the address to connect to."""
        return self._lease.address

    @property
    def folder(self) -> Path:
        """Return where its overlay, its console and its known_hosts are."""
        return Path(self._lease.folder)

    @property
    def root(self) -> Path:
        """Return its root directory, as the host sees it."""
        return self.folder / "root"

    @property
    def known_hosts(self) -> Path:
        """Return the known_hosts file that holds this node's host key."""
        return self.folder / "known_hosts"

    @property
    def running(self) -> bool:
        """Say whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def access(self) -> ssh.Access:
        """Return how ssh reaches it."""
        return ssh.Access(self.address, self.ssh_port, self.key, self.known_hosts)

    def ssh(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float | None = 600,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over ssh with strict host key checking; see ``Access.run``."""
        return self.access.run(command, check=check, timeout=timeout, stdin=stdin)

    def start(self) -> None:
        """Boot it on its overlay; does not wait for ssh."""
        if not self.running:
            self._process = nspawn.spawn(self._lease.machine, self.root, self._console)

    def wait(self, seconds: float = BOOT_SECONDS) -> float:
        """Wait until ssh works, and return after how many seconds.

        Raises UnreachableError with the end of its console.
        """
        try:
            return self.access.wait(seconds, lambda: self.running, lambda _: None)
        except UnreachableError as error:
            tail = "\n".join(self._console.read_text(errors="replace").splitlines()[-20:])
            raise UnreachableError(
                f"{self.name}: {error.message}", hint=f"Its console ends with:\n{tail}"
            ) from error

    def stop(self) -> None:
        """Shut it down; its overlay stays for the next ``start``."""
        if self._process is not None:
            nspawn.stop(self._lease.machine, self._process, STOP_SECONDS)
            self._process = None
        nspawn.remove_cgroups(self._lease.machine)

    def close(self) -> None:
        """Remove it and everything of it; the bridge goes with the host's last node."""
        self.stop()
        with lease.lock():
            _remove(self._lease)
            if not any(lease.leases()):
                bridge.down()

    @property
    def _console(self) -> Path:
        return self.folder / "console.log"


@contextmanager
def containers(
    names: Sequence[str], distribution: str = "debian-13", *, preinstall: Sequence[str] = ()
) -> Iterator[list[ContainerNode]]:
    """Run the nodes ``names`` with ssh working on each, and leave nothing of them behind."""
    _require(names)
    lower = tree.shared_root(distribution, preinstall)
    parent = store.labs_dir() / ".containers"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent)))
        key = folder / "id_ed25519"
        nodes = []
        with lease.lock():
            _take_back()
            for name in names:
                node = ContainerNode(name, lease.take(folder / name), key)
                nodes.append(node)
        # Closing changes leases: only register it where the lock is free again.
        for node in nodes:
            stack.callback(node.close)
        with lease.lock():
            bridge.up()
        authorized = ssh.make_key(key, "nodeproof-lab")
        peers = {node.name: node.address for node in nodes}
        for node in nodes:
            _make(node, lower, authorized, peers)
            node.start()
        for node in nodes:
            node.wait()
        yield nodes


def _make(node: ContainerNode, lower: Path, authorized: str, peers: dict[str, str]) -> None:
    """Mount a node's overlay and give it its identity."""
    node.folder.mkdir(mode=0o700)
    ssh.make_key(node.folder / "host_key", node.name)
    public = (node.folder / "host_key.pub").read_text()
    node.known_hosts.write_text(ssh.known_host(node.address, node.ssh_port, public))
    for name in ("root", "upper", "work"):
        (node.folder / name).mkdir()
    layers = f"lowerdir={lower},upperdir={node.folder}/upper,workdir={node.folder}/work"
    _run(["mount", "-t", "overlay", "overlay", "-o", layers, str(node.root)])
    own = Identity(
        name=node.name,
        host_key=node.folder / "host_key",
        authorized=authorized,
        interfaces=(
            Interface("Name=host0", f"{node.address}/24", bridge.GATEWAY, mtu=bridge.mtu()),
        ),
        resolver=bridge.resolver(),
        peers=peers,
    )
    unpack = ["tar", "--extract", "--numeric-owner", f"--directory={node.root}"]
    _run(unpack, own.archive(guest.container_files()))


def _take_back() -> None:
    """Remove what processes that are gone left behind; hold the lock."""
    abandoned = [each for each in lease.leases() if each.abandoned]
    for left in abandoned:
        log.info("removing %s, which an earlier run left behind", left.machine)
        nspawn.kill(left.machine)
        nspawn.remove_cgroups(left.machine)
        _remove(left)
    for session in {Path(left.folder).parent for left in abandoned}:
        if session.exists():
            shutil.rmtree(session)


def _remove(taken: lease.Lease) -> None:
    root = Path(taken.folder, "root")
    if root.is_mount():
        _run(["umount", str(root)])
    if root.parent.exists():
        shutil.rmtree(root.parent)
    taken.drop()


def _require(names: Sequence[str]) -> None:
    for name in names:
        spec.check_name(name, what="container node")
    if os.geteuid() != 0:
        raise RefusedError("container nodes: they need root", hint="Run as root, or use machines.")
    tools = [
        *(requirements.NSPAWN, requirements.IP, requirements.NFT, requirements.MMDEBSTRAP),
        *(requirements.SSH, requirements.SSH_KEYGEN, requirements.KEYRING),
    ]
    requirements.require(tools, what="container nodes")


def _run(argv: list[str], data: bytes = b"") -> None:
    done = subprocess.run(argv, input=data, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise NodeproofError(f"container nodes: {' '.join(argv)} failed", hint=said)
