"""Container engines, by what containers that really run can do."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.containers.probes import (
    COMPOSE,
    CRI_PLUGINS,
    ENGINES,
    NEW_LOG,
    NOBODY,
    RUN_COMPOSE,
    SAY,
    SHELL,
    UNLINKED,
    run,
    unit,
)
from nodeproof.layers.containers.settings import (
    AMD_RUNTIME,
    AMD_RUNTIME_PATH,
    CDI_DIRECTORIES,
    CONTAINERD_CONF,
    NVIDIA_CDI,
    NVIDIA_CONF,
    NVIDIA_RUNTIME,
    NVIDIA_RUNTIME_PATH,
    PROBE_DEVICE,
    PROBE_IMAGE,
    PROBE_VARIABLE,
    Settings,
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


@pytest.fixture(scope="module")
def containerd(host: Host, settings: Settings) -> dict[str, Any]:
    """Return what containerd makes of all its files, as far as Kubernetes is concerned."""
    if not settings.containerd:
        pytest.skip("containerd is not asked for")
    whole = tomllib.loads(host.check_output("containerd config dump"))
    plugins: dict[str, Any] = whole["plugins"]
    found = [plugins[name] for name in CRI_PLUGINS if "containerd" in plugins.get(name, {})]
    assert found, f"containerd has none of the plugins {', '.join(CRI_PLUGINS)}"
    runtime: dict[str, Any] = found[-1]
    return runtime


@pytest.fixture(scope="module")
def crio(host: Host, settings: Settings) -> dict[str, Any]:
    """Return the configuration of the running CRI-O, as it says itself."""
    if not settings.crio:
        pytest.skip("crio is not asked for")
    whole = tomllib.loads(host.check_output("crio status config"))
    runtime: dict[str, Any] = whole["crio"]["runtime"]
    return runtime


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


@pytest.mark.control("NP-CTR-01")
def test_docker_cgroups_as_asked(daemon: dict[str, Any], settings: Settings) -> None:
    """Two who make cgroups on one node see its resources in two ways, and it comes apart."""
    wanted = "systemd" if settings.systemd_cgroup else "cgroupfs"
    assert daemon["CgroupDriver"] == wanted, f"its driver is {daemon['CgroupDriver']}"


@pytest.mark.control("NP-CTR-04")
def test_docker_nvidia_runtime_as_asked(daemon: dict[str, Any], settings: Settings) -> None:
    """Who asks with --runtime=nvidia must get it; where nobody asked for it, CDI alone is used."""
    offered = NVIDIA_RUNTIME in daemon["Runtimes"]
    assert offered or settings.nvidia_runtime == "none", f"it has {sorted(daemon['Runtimes'])}"
    default = daemon["DefaultRuntime"] == NVIDIA_RUNTIME
    assert default is settings.nvidia_default, f"its default runtime is {daemon['DefaultRuntime']}"


@pytest.mark.control("NP-CTR-04")
def test_docker_amd_runtime_ready(host: Host, daemon: dict[str, Any], settings: Settings) -> None:
    """Docker accepts a runtime whose program is missing until a job comes."""
    if not settings.amd_runtime:
        pytest.skip("AMD's runtime is not asked for")
    assert AMD_RUNTIME in daemon["Runtimes"], f"it has {sorted(daemon['Runtimes'])}"
    assert host.run("test -x %s", AMD_RUNTIME_PATH).rc == 0, f"{AMD_RUNTIME_PATH} is missing"


@pytest.mark.control("NP-CTR-01")
def test_containerd_runs_and_starts_at_boot(
    host: Host, containerd: dict[str, Any], distribution: Distribution
) -> None:
    """Kubernetes starts no pod without it."""
    answer = host.run("ctr version")
    assert answer.rc == 0, f"ctr version: {answer.stderr.strip()}"
    state = unit(host, distribution.units["containerd"])
    assert state == ("active", "enabled"), f"{distribution.units['containerd']} is {state}"


@pytest.mark.control("NP-CTR-01")
def test_containerd_serves_kubernetes(host: Host, containerd: dict[str, Any]) -> None:
    """A configuration that the plugin refuses leaves containerd running, and pods pending."""
    rows = [line.split() for line in host.check_output("ctr plugins ls").splitlines()]
    states = {row[1]: row[-1] for row in rows if row[0] == "io.containerd.grpc.v1"}
    assert states.get("cri") == "ok", f"its plugin cri is {states.get('cri', 'not there')}"


@pytest.mark.control("NP-CTR-01")
def test_containerd_has_taken_up_its_files(
    host: Host, containerd: dict[str, Any], distribution: Distribution
) -> None:
    """What it was not restarted for is true after the next reboot only."""
    show = 'date -d "$(systemctl show -P ActiveEnterTimestamp -- %s)" +%%s'
    started = int(host.check_output(show, distribution.units["containerd"]))
    written = int(host.check_output("stat -c %%Y -- %s", CONTAINERD_CONF))
    assert started >= written, f"{CONTAINERD_CONF} was changed {written - started} s after it began"


@pytest.mark.control("NP-CTR-01")
def test_containerd_cgroups_as_asked(containerd: dict[str, Any], settings: Settings) -> None:
    """Where kubelet and containerd disagree on who makes cgroups, pods fail under load."""
    runtimes = containerd["containerd"]["runtimes"]
    wanted = {"runc", *([NVIDIA_RUNTIME] if settings.nvidia_runtime != "none" else [])}
    found = {
        name: runtimes.get(name, {}).get("options", {}).get("SystemdCgroup", False)
        for name in wanted
    }
    assert found == dict.fromkeys(wanted, settings.systemd_cgroup), f"SystemdCgroup is {found}"


@pytest.mark.control("NP-CTR-04")
def test_containerd_reads_the_cdi_directories(
    containerd: dict[str, Any], settings: Settings, distribution: Distribution
) -> None:
    """A pod that is given a CDI device must not start without it."""
    if not settings.cdi:
        pytest.skip("cdi is not asked for")
    if not distribution.features["containerd_cdi"]:
        pytest.skip(f"containerd of {distribution.title} is older than CDI")
    assert containerd["enable_cdi"] is True, "enable_cdi is false"
    listed = containerd["cdi_spec_dirs"]
    assert set(CDI_DIRECTORIES) <= set(listed), f"containerd reads {listed}"


@pytest.mark.control("NP-CTR-04")
def test_containerd_nvidia_runtime_as_asked(containerd: dict[str, Any], settings: Settings) -> None:
    """A runtime class that the node does not know leaves its pods pending."""
    engine = containerd["containerd"]
    program = engine["runtimes"].get(NVIDIA_RUNTIME, {}).get("options", {}).get("BinaryName", "")
    if settings.nvidia_runtime != "none":
        assert program == NVIDIA_RUNTIME_PATH, f"its program is {program!r}"
    default = engine["default_runtime_name"]
    assert (default == NVIDIA_RUNTIME) is settings.nvidia_default, f"the default is {default}"


@pytest.mark.control("NP-CTR-01")
def test_crio_runs_as_asked(
    host: Host, crio: dict[str, Any], settings: Settings, distribution: Distribution
) -> None:
    """Another file of its folder may say otherwise, and the last one counts."""
    state = unit(host, distribution.units["crio"])
    assert state == ("active", "enabled"), f"{distribution.units['crio']} is {state}"
    wanted = "systemd" if settings.systemd_cgroup else "cgroupfs"
    assert crio["cgroup_manager"] == wanted, f"cgroup_manager is {crio['cgroup_manager']}"


@pytest.mark.control("NP-CTR-04")
def test_crio_devices_as_asked(crio: dict[str, Any], settings: Settings) -> None:
    """A pod that is given a CDI device, or NVIDIA's runtime class, must get what it says."""
    wanted = set(CDI_DIRECTORIES) if settings.cdi else set()
    listed = crio.get("cdi_spec_dirs", [])
    assert wanted <= set(listed), f"CRI-O reads {listed}"
    runtimes = crio.get("runtimes", {})
    offered = NVIDIA_RUNTIME in runtimes
    assert offered or settings.nvidia_runtime == "none", f"it has {sorted(runtimes)}"
    default = crio.get("default_runtime")
    assert (default == NVIDIA_RUNTIME) is settings.nvidia_default, f"the default is {default}"


@pytest.mark.control("NP-CTR-04")
def test_nvidia_runtime_ready(host: Host, settings: Settings) -> None:
    """Engines accept a runtime whose program is missing, or in another mode, until a job comes."""
    if settings.nvidia_runtime == "none":
        pytest.skip("NVIDIA's runtime is not asked for")
    assert host.run("test -x %s", NVIDIA_RUNTIME_PATH).rc == 0, f"{NVIDIA_RUNTIME_PATH} is missing"
    said = tomllib.loads(host.check_output("cat -- %s", NVIDIA_CONF))
    mode = said.get("nvidia-container-runtime", {}).get("mode", "auto")
    assert mode == settings.nvidia_runtime, f"its mode is {mode}"


@pytest.mark.control("NP-CTR-04")
def test_nvidia_specification_names_devices_that_exist(host: Host, settings: Settings) -> None:
    """One from before a driver update, or another MIG layout, gives jobs what is gone."""
    if not settings.cdi:
        pytest.skip("cdi is not asked for")
    nodes = host.check_output("find /dev -maxdepth 1 -name 'nvidia[0-9]*' -type c").splitlines()
    spec = host.run("cat -- %s", NVIDIA_CDI)
    if not nodes and spec.rc != 0:
        pytest.skip("no GPU of NVIDIA and no specification of one is here")
    assert spec.rc == 0, f"{len(nodes)} GPUs, but no {NVIDIA_CDI}; run: nvidia-ctk cdi generate"
    named = set(re.findall(r"path: [\"']?(/dev/[^\"'\s]+)", spec.stdout))
    assert named, f"{NVIDIA_CDI} names no device"
    missing = {path for path in named if host.run("test -e %s", path).rc != 0}
    assert not missing, f"{NVIDIA_CDI} names {', '.join(sorted(missing))}, which is gone"
    forgotten = set(nodes) - named
    assert not forgotten, f"{NVIDIA_CDI} does not name {', '.join(sorted(forgotten))}"


@pytest.mark.control("NP-CTR-04")
def test_devices_survive_a_reload(host: Host) -> None:
    """At systemctl daemon-reload containers lose devices that systemd cannot find."""
    found = [line.split() for line in host.check_output("sh -c %s", UNLINKED).splitlines()]
    if not found:
        pytest.skip("no device of a GPU is here")
    unlinked = [node for what, node in found if what == "unlinked"]
    assert not unlinked, f"/dev/char has no link to {', '.join(unlinked)}"
