"""Container engines, by what containers that really run can do."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.containers.settings import (
    CDI_DIRECTORIES,
    PROBE_DEVICE,
    PROBE_IMAGE,
    PROBE_VARIABLE,
    Settings,
)

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


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Return each engine that is asked for."""
    name: str = request.param
    if name not in settings.engines:
        pytest.skip(f"{name} is not asked for")
    return name


@pytest.fixture(scope="module")
def docker(settings: Settings) -> None:
    """Skip where Docker is not asked for."""
    if not settings.docker:
        pytest.skip("docker is not asked for")


@pytest.fixture(scope="module")
def inside(host: Host, engine: str) -> dict[str, str]:
    """Return what a container said; fails where none ran."""
    done = host.run(run(engine, "", SAY))
    assert done.rc == 0, f"no container runs: {done.stderr.strip()}"
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.fixture(scope="module")
def daemon(host: Host, docker: None) -> dict[str, Any]:
    """Return what the running Docker daemon says about itself."""
    info: dict[str, Any] = json.loads(host.check_output("docker info --format '{{json .}}'"))
    assert "ServerErrors" not in info, f"docker info: {info['ServerErrors']}"
    return info


def run(engine: str, options: str, script: str) -> str:
    """Return the command that runs a script in the probe image, without network or registry."""
    start = f"{engine} run --rm --pull=never --network=none {options} {PROBE_IMAGE}"
    return f"{start} {SHELL} -c {shlex.quote(script)}"


def unit(host: Host, name: str) -> tuple[str, str]:
    """Return whether a unit is active and enabled, in systemd's words."""
    command = "systemctl show -p ActiveState -p UnitFileState -- %s"
    said = dict(line.split("=", 1) for line in host.check_output(command, name).splitlines())
    return said["ActiveState"], said["UnitFileState"]


@pytest.mark.control("NP-CTR-01")
def test_engine_runs_and_starts_at_boot(
    host: Host, engine: str, distribution: Distribution
) -> None:
    """An engine that does not answer, or not after a reboot, leaves the node without its work."""
    answer = host.run(f"{engine} info")
    assert answer.rc == 0, f"{engine} info: {answer.stderr.strip()}"
    state = unit(host, distribution.units[engine])
    assert state == ("active", "enabled"), f"{distribution.units[engine]} is {' and '.join(state)}"


@pytest.mark.control("NP-CTR-02")
def test_container_runs(inside: dict[str, str]) -> None:
    """Only a container that ran shows that storage, cgroups, namespaces and runtime fit."""
    assert inside.get("ran") == "yes"


@pytest.mark.control("NP-CTR-03")
def test_compose_runs_a_service(host: Host, engine: str, settings: Settings) -> None:
    """A Compose that cannot start a service fails when somebody's service is due."""
    if not settings.compose:
        pytest.skip("compose is not asked for")
    text = COMPOSE.format(image=PROBE_IMAGE, program=SHELL)
    done = host.run("sh -c %s sh %s %s", RUN_COMPOSE, engine, text)
    assert done.rc == 0, done.stderr.strip()
    assert "compose ran" in done.stdout


@pytest.fixture(scope="module")
def cdi(engine: str, settings: Settings, distribution: Distribution) -> str:
    """Return each engine that is told to read CDI specifications."""
    if not settings.cdi:
        pytest.skip("cdi is not asked for")
    if engine == "docker" and not distribution.features["docker_cdi"]:
        pytest.skip(f"Docker of {distribution.title} is older than CDI")
    return engine


@pytest.mark.control("NP-CTR-04")
def test_cdi_device_reaches_the_container(host: Host, cdi: str) -> None:
    """Accelerators come into containers this way; without it a job finds none, or all of them."""
    done = host.run(run(cdi, f"--device {PROBE_DEVICE}", f'echo "${PROBE_VARIABLE}"'))
    assert (done.rc, done.stdout.strip()) == (0, "read"), done.stderr.strip()


@pytest.mark.control("NP-CTR-04")
def test_unknown_cdi_device_refused(host: Host, cdi: str) -> None:
    """A job must not start without the device it asked for."""
    done = host.run(run(cdi, f"--device {PROBE_DEVICE}-unknown", "exit 0"))
    assert done.rc != 0, "a container ran with a device that does not exist"
    assert "unresolvable CDI devices" in done.stderr, done.stderr.strip()


@pytest.mark.control("NP-CTR-04")
def test_docker_reads_the_cdi_directories(cdi: str, host: Host) -> None:
    """Vendors write into both directories: what they generate at boot is in the second."""
    if cdi != "docker":
        pytest.skip("podman reads the standard directories and does not list them")
    listed = json.loads(host.check_output("docker info --format '{{json .CDISpecDirs}}'"))
    assert listed == list(CDI_DIRECTORIES), f"Docker reads {listed}"


@pytest.mark.control("NP-CTR-05")
def test_container_confined_by_apparmor(inside: dict[str, str], node: NodeFacts) -> None:
    """A container without a profile may write where the kernel keeps its own settings."""
    if not node.apparmor:
        pytest.skip("AppArmor is off in this kernel; the confinement layer says so")
    assert inside["apparmor"].endswith(" (enforce)"), f"it runs as {inside['apparmor']!r}"


@pytest.mark.control("NP-CTR-05")
def test_container_confined_by_seccomp(inside: dict[str, str]) -> None:
    """Most holes in the kernel lie in system calls that no workload needs."""
    assert inside["seccomp"] == "2", "no system call is filtered"


@pytest.mark.control("NP-CTR-05")
def test_container_gains_no_privileges(
    engine: str, inside: dict[str, str], settings: Settings
) -> None:
    """A program with a set-uid bit in somebody's image must not make its user root."""
    if engine != "docker":
        pytest.skip("podman has no such default; give --security-opt=no-new-privileges")
    bit = inside["no_new_privs"]
    assert bit == str(int(settings.no_new_privileges)), f"its NoNewPrivs bit is {bit}"


@pytest.mark.control("NP-CTR-05")
def test_docker_bridge_as_asked(host: Host, docker: None, settings: Settings) -> None:
    """Containers of different users that share the default bridge could reach each other."""
    options = json.loads(
        host.check_output("docker network inspect --format '{{json .Options}}' bridge")
    )
    icc = options["com.docker.network.bridge.enable_icc"]
    assert icc == str(settings.icc).lower(), f"icc of the running bridge is {icc}"


@pytest.mark.control("NP-CTR-01")
def test_docker_live_restore_as_asked(daemon: dict[str, Any], settings: Settings) -> None:
    """Without it, updating Docker ends every job on the node."""
    running = daemon["LiveRestoreEnabled"]
    assert running is settings.live_restore, f"live-restore of the running daemon is {running}"


@pytest.mark.control("NP-CTR-01")
def test_docker_log_limited(host: Host, docker: None, settings: Settings) -> None:
    """A chatty container fills the disk, and then nothing on the node works."""
    made = host.run(NEW_LOG)
    assert made.rc == 0, f"no container can be made: {made.stderr.strip()}"
    log = json.loads(made.stdout)
    limits = {"max-file": str(settings.log_files), "max-size": f"{settings.log_max_mb}m"}
    assert log == {"Type": "json-file", "Config": limits}, f"a new container logs to {log}"


@pytest.mark.control("NP-CTR-06")
def test_docker_group_exact(host: Host, docker: None, settings: Settings) -> None:
    """Whoever may use the socket can mount the node's disk into a container as root."""
    _, _, gid, listed = host.check_output("getent group docker").split(":")
    accounts = [line.split(":") for line in host.check_output("getent passwd").splitlines()]
    primary = {account[0] for account in accounts if account[3] == gid}
    members = primary | set(filter(None, listed.split(",")))
    assert members == set(settings.docker_users), f"its members are {sorted(members)}"


@pytest.mark.control("NP-CTR-06")
def test_docker_socket_refuses_others(host: Host, daemon: dict[str, Any]) -> None:
    """Group membership protects nothing when the socket lets everybody in."""
    as_nobody = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
    tried = host.run(f"{as_nobody} docker version --format '{{{{.Server.Version}}}}'")
    assert tried.rc != 0, f"nobody talked to Docker {daemon['ServerVersion']}"
    assert "permission denied" in tried.stderr, tried.stderr.strip()
    owner = host.check_output("stat -L -c '%U:%G %a' /run/docker.sock")
    assert owner == "root:docker 660", f"the socket is {owner}"


@pytest.mark.control("NP-CTR-06")
def test_docker_listens_on_no_port(host: Host, daemon: dict[str, Any]) -> None:
    """A daemon that listens on the network asks nobody who they are."""
    listening = host.check_output("ss -Hltnp").splitlines()
    assert listening, f"no listener at all is seen beside Docker {daemon['ServerVersion']}"
    ports = [line.split()[3] for line in listening if '"dockerd"' in line]
    assert ports == [], f"Docker listens on {', '.join(ports)}"
