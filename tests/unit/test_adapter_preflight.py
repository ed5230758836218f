"""What must hold before the first change, and the deploys in a plain pyinfra run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nodeproof.engine.preflight import ROOM_KB, preflight
from nodeproof.errors import NodeproofError, RefusedError, UnreachableError
from nodeproof.facts.node import Disk, NodeFacts
from nodeproof.resources import shipped

GOOD: dict[str, Any] = {
    "uid": 0,
    "os_id": "debian",
    "os_version": "13",
    "init": "systemd",
    "disks": (Disk(mount="/", size_kb=10 * ROOM_KB, free_kb=ROOM_KB),),
}
FULL = (
    Disk(mount="/", size_kb=10 * ROOM_KB, free_kb=ROOM_KB),
    Disk(mount="/var", size_kb=10 * ROOM_KB, free_kb=ROOM_KB - 1),
)


def test_a_good_node_passes() -> None:
    assert preflight("node1", NodeFacts(**GOOD)).version == "13"


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"uid": 1000}, UnreachableError, "commands run as user 1000 instead of root"),
        ({"uid": -1}, UnreachableError, "commands run as user -1"),
        ({"os_version": "11"}, RefusedError, "debian 11 is not supported; supported are Debian"),
        (
            {"os_id": "arch", "os_version": "", "os_name": "Arch Linux"},
            RefusedError,
            "arch without a version (VERSION_ID) is not supported; supported are Debian 12",
        ),
        ({"os_id": "", "os_version": ""}, RefusedError, "a system without os-release"),
        ({"init": "openrc"}, RefusedError, "it runs openrc instead of systemd"),
        ({"init": ""}, RefusedError, "it runs no init instead of systemd"),
        ({"disks": FULL}, RefusedError, "/var has 199 MiB free; 200 MiB are needed"),
    ],
)
def test_others_are_refused(wrong: dict[str, Any], error: type[NodeproofError], said: str) -> None:
    with pytest.raises(error) as caught:
        preflight("node1", NodeFacts(**{**GOOD, **wrong}))
    assert caught.value.message.startswith("node1: ")
    assert said in caught.value.message


def test_a_full_disk_may_be_looked_at() -> None:
    assert preflight("node1", NodeFacts(**{**GOOD, "disks": FULL}), writing=False)


IMAGE = {"os_id": "flatcar", "os_version": "4459.2.0", "os_name": "Flatcar 4459.2.0"}


def test_an_image_is_refused_whatever_it_is_and_may_be_looked_at() -> None:
    for known in (IMAGE, {}):
        node = NodeFacts(**{**GOOD, **known, "image": "ostree"})
        with pytest.raises(RefusedError, match=r"is an image \(ostree\): nothing is installed"):
            preflight("node1", node)
        assert preflight("node1", node, writing=False).ids
    row = preflight("node1", NodeFacts(**{**GOOD, **IMAGE, "image": "os-release"}), writing=False)
    assert (row.title, row.layers) == ("Flatcar 4459.2.0", ("gpu", "cuda"))
    with pytest.raises(RefusedError, match=r"flatcar 4459\.2\.0 is not supported"):
        preflight("node1", NodeFacts(**{**GOOD, **IMAGE}), writing=False)


@pytest.mark.parametrize(
    ("os_id", "like", "manager"),
    [("ubuntu-core", "", "apt"), ("endless", "debian", "apt"), ("fedora", "", "dnf")],
)
def test_packages_of_an_image_are_asked_of_its_kind(os_id: str, like: str, manager: str) -> None:
    facts = NodeFacts(**{**GOOD, "os_id": os_id, "os_like": like, "image": "ostree"})
    assert preflight("node1", facts, writing=False).package_manager == manager


def test_a_machine_that_said_nothing_is_not_let_through() -> None:
    with pytest.raises(NodeproofError):
        preflight("node1", NodeFacts())


# pyinfra's command with its @fake connector, whose machine says NODE_SAYS of itself.
PYINFRA = """
import os
from importlib.metadata import entry_points
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

def answer(connector, command, *_, **__):
    says = os.environ["NODE_SAYS"].splitlines() if "os-release" in str(command) else []
    return True, CommandOutput([OutputLine("stdout", line) for line in says])

FakeConnector.run_shell_command = answer
(main,) = entry_points(group="console_scripts", name="pyinfra")
main.load()()
"""
DEBIAN = {"os_id": "debian", "os_version": 13, "uid": 0, "init": "systemd", "login_user": "ops"}

ROCKY = {**DEBIAN, "os_id": "rocky", "os_version": 9.8}


def pyinfra(folder: Path, data: dict[str, Any], says: dict[str, Any]) -> tuple[int, str]:
    path = folder / "hosts.py"
    path.write_text(f"nodes = [('@fake/a', {data!r}), ('@fake/b', {data!r})]\n")
    said = "\n".join(f"{key}={value}" for key, value in says.items())
    done = subprocess.run(
        [sys.executable, "-c", PYINFRA, str(path), str(shipped("deploys", "site.py")), "--dry"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "NODE_SAYS": said},
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_plain_pyinfra_deploys_what_is_asked(tmp_path: Path) -> None:
    code, said = pyinfra(tmp_path, {"system": {"timezone": "Etc/UTC"}}, DEBIAN)
    assert code == 0, said
    assert "system | Set the time zone" in said
    assert "ssh | " not in said


@pytest.mark.parametrize(
    ("data", "says", "said"),
    [
        ({"ssh": {"max_sesions": 1}}, DEBIAN, "did you mean max_sessions?"),
        ({"ssh": {}}, {**DEBIAN, "os_version": 11}, "debian 11 is not supported"),
        ({"ssh": {}}, {**DEBIAN, "uid": 7}, "commands run as user 7 instead of root"),
        ({"ssh": {}}, {}, "commands run as user -1 instead of root"),
        ({"gpu": {}, "ssh": {}}, ROCKY, "there are only the layers gpu and cuda, not ssh; leave"),
    ],
)
def test_plain_pyinfra_refuses_as_we_do(
    tmp_path: Path, data: dict[str, Any], says: dict[str, Any], said: str
) -> None:
    code, printed = pyinfra(tmp_path, data, says)
    assert code != 0
    assert said in printed
    assert "Set the" not in printed
