"""The containers layer: what may be asked, what is written, and what its own operations do."""

from __future__ import annotations

import json
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.context import ctx_host

from nodeproof.catalog.distributions import Distribution, distributions
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.containers import configuration, deploy, operations
from nodeproof.layers.containers.facts import RECIPE, LiveRestore, ProbeImage
from nodeproof.layers.containers.probes import COMPOSE, RUN_COMPOSE
from nodeproof.layers.containers.settings import (
    CDI_DIRECTORIES,
    PROBE_DEVICE,
    PROBE_IMAGE,
    PROBE_VARIABLE,
    Settings,
)
from nodeproof.operations.files import render

DEBIAN_12, DEBIAN_13 = distributions()["debian-12"], distributions()["debian-13"]


class Node:
    """A node that answers for facts and listens to no-operations."""

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.noops: list[str] = []

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        return self.facts[fact.__name__]

    def noop(self, reason: str) -> None:
        self.noops.append(reason)


def commands(operation: Any, node: Node, **arguments: Any) -> list[str]:
    """Return what an operation would run on a node."""
    with ctx_host.use(node):
        return [str(command) for command in operation._inner(**arguments)]


def test_podman_alone_is_the_default() -> None:
    settings = Settings()
    assert settings.engines == ("podman",)
    assert settings.docker_users == []


@pytest.mark.parametrize(
    "asked",
    [
        {"docker_users": ["alice; id"]},
        {"docker_users": ["Alice"]},
        {"log_max_mb": 0},
        {"log_files": 0},
        {"log_files": "3"},
        {"podman": "yes"},
        {"registries": []},
    ],
)
def test_settings_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(asked)


def daemon(settings: Settings, *, cdi: bool) -> dict[str, Any]:
    return configuration.docker(settings, cdi=cdi)


def test_docker_hardened_by_default() -> None:
    assert daemon(Settings(), cdi=True) == {
        "cdi-spec-dirs": list(CDI_DIRECTORIES),
        "features": {"cdi": True},
        "icc": False,
        "live-restore": True,
        "log-driver": "json-file",
        "log-opts": {"max-file": "3", "max-size": "50m"},
        "no-new-privileges": True,
        "userland-proxy": False,
    }


def test_docker_as_asked_and_without_cdi() -> None:
    settings = Settings(
        live_restore=False, no_new_privileges=False, icc=True, userland_proxy=True, log_max_mb=7
    )
    written = daemon(settings, cdi=False)
    assert {"features", "cdi-spec-dirs"} & written.keys() == set()
    assert (written["live-restore"], written["no-new-privileges"]) == (False, False)
    assert (written["icc"], written["userland-proxy"]) == (True, True)
    assert written["log-opts"]["max-size"] == "7m"


@pytest.mark.parametrize("cdi", [True, False])
def test_podman_drop_in(cdi: bool) -> None:
    text = render("containers/containers.conf.j2", settings=Settings(log_max_mb=2), cdi=cdi)
    written = tomllib.loads(text)
    assert written["containers"]["log_size_max"] == 2 * 1024 * 1024
    directories = written.get("engine", {}).get("cdi_spec_dirs", [])
    assert directories == (list(CDI_DIRECTORIES) if cdi else [])


def test_probe_device_is_what_checks_ask_for() -> None:
    spec = json.loads(render("containers/nodeproof-probe.json.j2"))
    device = spec["devices"][0]
    assert f"{spec['kind']}={device['name']}" == PROBE_DEVICE
    assert device["containerEdits"] == {"env": [f"{PROBE_VARIABLE}=read"]}


@pytest.mark.parametrize(
    ("settings", "apparmor", "wanted"),
    [
        (Settings(), True, {"podman", "podman-compose", "apparmor"}),
        (Settings(compose=False), False, {"podman"}),
        (Settings(podman=False, docker=True), False, {"docker.io", "docker-compose"}),
    ],
)
def test_packages_follow_what_is_asked(
    settings: Settings, apparmor: bool, wanted: set[str]
) -> None:
    for distribution in (DEBIAN_12, DEBIAN_13):
        found = set(deploy._packages(settings, None, NodeFacts(apparmor=apparmor), distribution))
        assert wanted <= found
        assert ("podman" in found) is settings.podman
        assert ("docker.io" in found) is settings.docker
        assert ("apparmor" in found) is apparmor


def test_probe_image_made_once() -> None:
    made = Node(ProbeImage=True)
    assert commands(operations.probe_image, made, engine="podman") == []
    assert made.noops


def test_probe_image_made_where_it_is_missing() -> None:
    [command] = commands(operations.probe_image, Node(ProbeImage=False), engine="docker")
    assert shlex.split(command)[-2:] == ["sh", "docker"]


@pytest.mark.parametrize(("running", "reloads"), [(True, 0), (False, 1), (None, 1)])
def test_live_restore_reloads_only_where_it_is_off(running: bool | None, reloads: int) -> None:
    node = Node(LiveRestore=running)
    assert len(commands(operations.live_restore, node, unit="docker.service")) == reloads


@pytest.mark.parametrize(
    ("output", "state"), [([], False), (["[]"], False), ([""], False), ([RECIPE], True)]
)
def test_probe_image_fact(output: list[str], state: bool) -> None:
    assert ProbeImage().process(output) is state


@pytest.mark.parametrize(("output", "state"), [(["true"], True), (["false"], False), ([], None)])
def test_live_restore_fact(output: list[str], state: bool | None) -> None:
    assert LiveRestore().process(output) is state


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], Path]:
    """Put stub programs first in PATH; each notes its arguments in the folder's log."""

    def put(programs: Mapping[str, str]) -> Path:
        for name, body in programs.items():
            path = tmp_path / name
            path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{tmp_path}/log"\n{body}\n')
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
        return tmp_path

    return put


@pytest.mark.parametrize("has", [True, False])
def test_probe_image_fact_asks_the_engine(
    stub: Callable[[Mapping[str, str]], Path], has: bool
) -> None:
    stub({"podman": f"echo {RECIPE}" if has else "echo []; exit 125"})
    command = ProbeImage().command(engine="podman").get_raw_value()
    said = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert ProbeImage().process(said.stdout.splitlines()) is has


def test_probe_image_built_of_the_shell(stub: Callable[[Mapping[str, str]], Path]) -> None:
    podman = 'case $1 in image) echo old;; import) tar -tvf "$4" >&2; echo new;; esac'
    folder = stub({"podman": podman + '\n[ "$1" != info ] || echo /storage', "sync": ""})
    [command] = commands(operations.probe_image, Node(ProbeImage=False), engine="podman")
    said = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    members = [line.split() for line in said.stderr.splitlines()]
    assert members[0][-1] == "bin/sh"
    assert all(member[0].startswith("-r") for member in members), "programs and libraries, no links"
    assert any("libc.so" in member[-1] for member in members)
    calls = (folder / "log").read_text()
    written, named = (
        calls.index("sync -f -- /storage"),
        calls.index(f"podman tag new {PROBE_IMAGE}"),
    )
    assert calls.index("podman import") < written < named
    assert "podman image rm -- old" in calls


def test_probe_image_that_is_not_on_the_disk_gets_no_name(
    stub: Callable[[Mapping[str, str]], Path],
) -> None:
    folder = stub({"podman": "echo /storage", "sync": "exit 1"})
    [command] = commands(operations.probe_image, Node(ProbeImage=False), engine="podman")
    said = subprocess.run(command, shell=True, capture_output=True, check=False)  # noqa: S602
    assert said.returncode == 1
    assert "podman tag" not in (folder / "log").read_text()


def test_compose_leaves_nothing(stub: Callable[[Mapping[str, str]], Path]) -> None:
    folder = stub({"docker-compose": 'cat "$4"; [ "$5" = run ] && exit 3'})
    text = COMPOSE.format(image=PROBE_IMAGE, program="/bin/sh")
    argv = ["sh", "-c", RUN_COMPOSE, "sh", "docker", text]
    said = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (3, text)
    calls = (folder / "log").read_text().splitlines()
    assert [call.split()[5:] for call in calls] == [["run", "--rm", "probe"], ["down"]]
    assert not Path(calls[0].split()[4]).parent.exists()


@pytest.mark.parametrize("distribution", [DEBIAN_12, DEBIAN_13], ids=["12", "13"])
def test_catalog_has_what_the_layer_asks_for(distribution: Distribution) -> None:
    keys = {"podman", "docker", "podman_compose", "docker_compose", "apparmor"}
    assert keys <= distribution.packages.keys()
    assert {"podman", "docker", "apparmor"} <= distribution.units.keys()
    features = {
        "docker_cdi",
        "docker_validate",
        "podman_cdi_dirs",
        "apparmor_abi",
        "apparmor_userns",
    }
    assert features <= distribution.features.keys()
