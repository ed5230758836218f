"""Docker and containerd with settings of a user's own; no container runs in a container node."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from tests.nodes.conftest import PREINSTALL
from tests.support import nodeproof, write_inventory

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("containers")]

ASKED: dict[str, Any] = {
    "podman": False,
    "docker": True,
    "containerd": True,
    "compose": False,
    "nvidia_runtime": "cdi",
}
RECORDED = Path(__file__).parent.parent / "recorded" / "nvidia-ctk" / "before"
DAEMON = "/etc/docker/daemon.json"
OWN = (RECORDED / "docker-mirrors.json").read_text(encoding="utf-8").replace("/scratch", "/srv")
CONTAINERD = "/etc/containerd/config.toml"
OLD_TOOLKIT = (
    "#!/bin/sh\n# nvidia-ctk as it was before it brought units: it only has to be there.\n"
)
SEEN = {
    *("docker_listens_on_no_port", "docker_group_exact", "docker_live_restore_as_asked"),
    *("docker_cgroups_as_asked", "docker_nvidia_runtime_as_asked", "docker_log_limited"),
    *("docker_bridge_as_asked", "docker_reads_the_cdi_directories[docker]"),
    *("containerd_runs_and_starts_at_boot", "containerd_serves_kubernetes"),
    *("containerd_has_taken_up_its_files", "containerd_cgroups_as_asked"),
    *("containerd_reads_the_cdi_directories", "containerd_nvidia_runtime_as_asked"),
}
"""What can be seen without a container that runs."""


@pytest.fixture(scope="module")
def node() -> Iterator[ContainerNode]:
    """A node with a user's Docker settings, and an old NVIDIA toolkit."""
    with containers(["engines"], "debian-13", preinstall=PREINSTALL) as (one,):
        one.ssh(f"sudo install -D -m 640 /dev/stdin {DAEMON}", stdin=OWN)
        one.ssh("sudo install -m 755 /dev/stdin /usr/bin/nvidia-ctk", stdin=OLD_TOOLKIT)
        yield one


@pytest.fixture(scope="module")
def inventory(node: ContainerNode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The node with both engines."""
    return write_inventory(tmp_path_factory.mktemp("engines"), [node], {"containers": ASKED})


def read(node: ContainerNode, path: str) -> str:
    return node.ssh(f"sudo cat {path}").stdout


def checks(inventory: Path) -> dict[str, str]:
    done = nodeproof("verify", inventory, "--json")
    (found,) = [one["checks"] for one in done.json["nodes"]]
    return {check["name"]: check["verdict"] for check in found}


def test_a_conflict_is_refused_before_anything_is_changed(
    node: ContainerNode, inventory: Path, tmp_path: Path
) -> None:
    other = {**ASKED, "icc": True}
    node.ssh(f"sudo sed -i 's/^{{/{{ \"icc\": false,/' {DAEMON}")
    path = write_inventory(tmp_path, [node], {"containers": other})
    done = nodeproof("apply", path, "--yes", "--json")
    assert done.code == 4, done.out
    assert "icc is false there, and true is asked for" in done.node("engines")["reason"]
    assert node.ssh("command -v dockerd || echo none").stdout.strip() == "none"
    node.ssh(f"sudo install -m 640 /dev/stdin {DAEMON}", stdin=OWN)


def test_settings_are_merged_and_taken_up(node: ContainerNode, inventory: Path) -> None:
    done = nodeproof("apply", inventory, "--yes", "--json")
    assert done.code == 0, done.out
    merged, own = json.loads(read(node, DAEMON)), json.loads(OWN)
    assert {key: merged[key] for key in own if key != "features"} == {
        key: value for key, value in own.items() if key != "features"
    }
    assert merged["features"] == {"buildkit": True, "cdi": True}
    assert node.ssh(f"stat -c %a {DAEMON}").stdout.strip() == "640"
    cri = tomllib.loads(read(node, CONTAINERD))["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["cni"]["bin_dir"] == "/usr/lib/cni", "what Debian's package says stays"
    assert cri["enable_cdi"] is True
    again = nodeproof("apply", inventory, "--yes", "--json")
    assert again.changed("engines") == []


def test_daemons_say_what_was_asked(inventory: Path) -> None:
    found = checks(inventory)
    assert {name: found.get(name) for name in SEEN} == dict.fromkeys(SEEN, "passed")
    assert found["nvidia_runtime_ready"] == "failed", "its program is not there"
    assert found["devices_survive_a_reload"] == "skipped"


def test_units_and_rule_are_read_by_their_daemons(node: ContainerNode) -> None:
    names = "nodeproof-cdi-refresh.service nodeproof-cdi-refresh.path"
    said = node.ssh(f"systemctl is-enabled {names}; systemctl is-active {names}", check=False)
    assert said.stdout.split() == ["enabled", "enabled", "inactive", "active"]
    node.ssh("sudo install -m 755 /dev/stdin /usr/bin/nvidia-smi", stdin=OLD_TOOLKIT)
    verified = node.ssh(f"sudo systemd-analyze verify {names} 2>&1", check=False).stdout
    assert "nodeproof" not in verified, verified
    node.ssh("udevadm verify /etc/udev/rules.d/71-nvidia-dev-char.rules")


BREAKS = {
    "docker_log_limited": f"sed -i 's/50m/51m/' {DAEMON}; systemctl restart docker",
    "containerd_cgroups_as_asked": (
        f"sed -i 's/\\(SystemdCgroup =\\) true/\\1 false/' {CONTAINERD}"
    ),
    # What nvidia-ctk writes takes the place of all that config.toml says of the plugin.
    "containerd_reads_the_cdi_directories": (
        "mkdir -p /etc/containerd/conf.d; "
        "printf 'version = 2\\n[plugins.\"io.containerd.grpc.v1.cri\"]\\nenable_cdi = false\\n' "
        ">/etc/containerd/conf.d/99-nvidia.toml; "
        f"sed -i '1i imports = [\"/etc/containerd/conf.d/*.toml\"]' {CONTAINERD}"
    ),
}


def test_what_is_changed_by_hand_is_seen_and_mended(node: ContainerNode, inventory: Path) -> None:
    for command in BREAKS.values():
        node.ssh("sudo sh", stdin=command)
    found = checks(inventory)
    assert {name: found[name] for name in BREAKS} == dict.fromkeys(BREAKS, "failed")
    assert found["containerd_has_taken_up_its_files"] == "failed"
    node.ssh(f"sudo rm -r /etc/containerd/conf.d; sudo sed -i 1d {CONTAINERD}")
    mended = nodeproof("apply", inventory, "--yes", "--json")
    assert mended.code == 0, mended.out
    found = checks(inventory)
    assert {name: found[name] for name in BREAKS} == dict.fromkeys(BREAKS, "passed")
