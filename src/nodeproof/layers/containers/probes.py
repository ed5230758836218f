"""What checks run on a node to look at engines and at what containers say about themselves."""

from __future__ import annotations

import shlex

from testinfra.host import Host

from nodeproof.layers.containers.settings import AMD_CTK, NVIDIA_CTK, PROBE_IMAGE

ENGINES = ["podman", "docker"]
SHELL = "/bin/sh"
"""All that the probe image has: what runs in it is made of the shell's own commands."""
NOBODY = 65534
COMPOSE = """
services:
  probe:
    image: {image}
    network_mode: none
    command: ["{program}", "-c", "echo compose ran"]
"""
# A folder of its own in memory, and whatever Compose makes: gone when the script ends.
RUN_COMPOSE = """
d=$(mktemp -d /run/nodeproof-compose.XXXXXX) || exit 1
compose() { "$1"-compose -p nodeproof-probe -f "$d/compose.yaml" "$2" $3 $4; }
trap 'compose "$1" down >/dev/null 2>&1; rm -rf -- "$d"' EXIT
printf '%s' "$2" >"$d/compose.yaml" && compose "$1" run --rm probe
"""
# What a container says about itself, as key=value lines; `read` is the shell's, so self is it.
SAY = """
echo ran=yes
read -r profile </proc/self/attr/current && echo "apparmor=$profile"
while read -r key value; do
  case $key in Seccomp:) echo "seccomp=$value";; NoNewPrivs:) echo "no_new_privs=$value";; esac
done </proc/self/status
"""
NEW_LOG = (
    f"c=$(docker create --pull=never --network=none {PROBE_IMAGE} {SHELL}) || exit 1; "
    'docker inspect --format \'{{json .HostConfig.LogConfig}}\' "$c"; docker rm "$c" >/dev/null'
)


CRI_PLUGINS = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime")
VERSION_OF = {
    "nvidia": f"{NVIDIA_CTK} --version",
    "amd": f"{AMD_CTK} version",
    "podman": "podman --version",
    "docker": "docker version --format '{{.Server.Version}}'",
    "containerd": "containerd --version",
}
"""What says the version of a vendor's toolkit, or of an engine that runs."""
SAID_VERSION = {
    "nvidia": r"^NVIDIA Container Toolkit CLI version ([0-9.]+)$",
    "amd": r"^Version: v?([0-9.]+)",
    "podman": r"^podman version ([0-9]+\.[0-9.]*[0-9])",
    "docker": r"^([0-9]+\.[0-9.]*[0-9])",
    "containerd": r" v?([0-9]+\.[0-9.]*[0-9])",
}
"""How it says it; sources: the vendors' repositories, and what engines of Debian's print."""
# A device without its link in /dev/char: some versions of runc hide it from systemd, and then the
# next daemon-reload takes it from every container.
UNLINKED = """
for node in /dev/nvidia* /dev/kfd /dev/dri/renderD*; do
  [ -c "$node" ] || continue
  echo "node $node"
  set -- $(stat -c '%t %T' -- "$node")
  [ -e "/dev/char/$((0x$1)):$((0x$2))" ] || echo "unlinked $node"
done
"""


def run(engine: str, options: str, script: str) -> str:
    """Return the command that runs a script in the probe image, without network or registry."""
    start = f"{engine} run --rm --pull=never --network=none {options} {PROBE_IMAGE}"
    return f"{start} {SHELL} -c {shlex.quote(script)}"


def unit(host: Host, name: str) -> tuple[str, str]:
    """Return whether a unit is active and enabled, in systemd's words."""
    command = "systemctl show -p ActiveState -p UnitFileState -- %s"
    said = dict(line.split("=", 1) for line in host.check_output(command, name).splitlines())
    return said["ActiveState"], said["UnitFileState"]
