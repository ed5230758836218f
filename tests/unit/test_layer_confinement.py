"""The confinement layer: what may be asked, the profile, and what loads it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from pydantic import ValidationError
from pyinfra.api import DeployError
from pyinfra.context import ctx_host

from nodeproof.catalog.distributions import distributions
from nodeproof.facts.apparmor import AppArmorProfile, AppArmorProfileData
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.confinement.checks import TRY
from nodeproof.layers.confinement.deploy import deploy_layer
from nodeproof.layers.confinement.settings import PROFILE, Settings
from nodeproof.operations import apparmor
from nodeproof.operations.files import render

TEMPLATE = f"confinement/{PROFILE}.j2"
EXTREME = Settings.model_validate(
    {
        "mode": "complain",
        "model_dirs": ["/models", "/data/a+b", "/mnt/m:1@x"],
        "scratch_dirs": ["/scratch", "/mnt/fast"],
        "executables": ["/opt/{a,b}/bin/*", "/usr/bin/python3.1?"],
        "devices": ["/dev/nvidia*", "/dev/dri/**", "/dev/kfd"],
        "network": False,
        "group": "ml-users",
    }
)
NOTHING = Settings(model_dirs=[], scratch_dirs=[])


class Node:
    """A node that answers for facts and listens to no-operations."""

    name = "node1"

    def __init__(self, profile: AppArmorProfileData | None = None) -> None:
        self.profile = profile
        self.noops: list[str] = []

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        assert fact is AppArmorProfile
        return self.profile

    def noop(self, reason: str) -> None:
        self.noops.append(reason)


class Written:
    """An operation that has run."""

    def __init__(self, *, changed: bool) -> None:
        self.changed = changed

    def is_complete(self) -> bool:
        return True

    def did_change(self) -> bool:
        return self.changed


def profile(settings: Settings, abi: str = "4.0") -> str:
    return render(TEMPLATE, settings=settings, abi=abi)


@pytest.mark.parametrize(
    "asked",
    [
        {"mode": "off"},
        {"model_dirs": ["/"]},
        {"model_dirs": ["models"]},
        {"model_dirs": ["/srv/../etc"]},
        {"model_dirs": ['/srv/"models']},
        {"scratch_dirs": ["/"]},
        {"scratch_dirs": ["/etc"]},
        {"scratch_dirs": ["/etc/scratch"]},
        {"scratch_dirs": ["/home/alice"]},
        {"scratch_dirs": ["/tmp"]},
        {"scratch_dirs": ["/tmp/"]},
        {"scratch_dirs": ["/var/lib/nodeproof/scratch"]},
        {"scratch_dirs": ["/srv/models/scratch"]},
        {"scratch_dirs": ["/srv/models"]},
        {"executables": []},
        {"executables": ["/usr/bin/**\n  capability,"]},
        {"executables": ["/usr/{bin"]},
        {"executables": ['/usr/bin/" ux,']},
        {"devices": ["/etc/shadow"]},
        {"devices": ["nvidia0"]},
        {"group": "ml users"},
        {"exec": []},
    ],
)
def test_settings_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(asked)


def test_trailing_slash_means_the_same() -> None:
    settings = Settings(model_dirs=["/srv/models/"], scratch_dirs=["/scratch/"])
    assert (settings.model_dirs, settings.scratch_dirs) == (["/srv/models"], ["/scratch"])


def test_scratch_may_hold_models() -> None:
    text = profile(Settings(model_dirs=["/data/models"], scratch_dirs=["/data"]))
    assert '"/data/**" rwklm,' in text
    assert 'audit deny "/data/models/**" wlx,' in text


def test_profile_says_what_is_asked() -> None:
    text = profile(EXTREME, "3.0")
    assert "abi <abi/3.0>," in text
    assert "flags=(attach_disconnected,mediate_deleted,complain)" in text
    assert '"/dev/dri/**" rwm,' in text
    assert "network inet" not in text
    assert "nameservice" not in text


def test_profile_enforces_and_allows_the_network_by_default() -> None:
    text = profile(Settings())
    assert "complain" not in text
    assert "network inet stream," in text
    assert "network inet raw" not in text


@pytest.mark.parametrize(
    "grant", ["capability", "mount ", "mount,", "userns", "@{HOME}", " ux", " Ux"]
)
def test_profile_grants_nothing_of_the_kind(grant: str) -> None:
    rules = [line for line in profile(EXTREME).splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in rules if grant in line and "deny" not in line] == []


def test_template_uses_nothing_it_is_not_given() -> None:
    with pytest.raises(UndefinedError):
        render(TEMPLATE, settings=Settings())


@pytest.mark.parametrize(
    ("state", "changed", "loads"),
    [
        (AppArmorProfileData("enforce", True), False, 0),
        (AppArmorProfileData("enforce", True), True, 1),
        (AppArmorProfileData("enforce", False), False, 1),
        (AppArmorProfileData("complain", True), False, 1),
        (AppArmorProfileData(), False, 1),
    ],
)
def test_profile_loaded_where_it_is_not(
    state: AppArmorProfileData, changed: bool, loads: int
) -> None:
    node = Node(state)
    with ctx_host.use(node):
        commands = list(
            apparmor.loaded._inner(
                profile=PROFILE, path="/p", mode="enforce", after=Written(changed=changed)
            )
        )
    assert len(commands) == loads
    assert bool(node.noops) is not bool(loads)


@pytest.mark.parametrize(
    ("output", "state"),
    [
        ([], AppArmorProfileData()),
        (["mode enforce"], AppArmorProfileData("enforce", False)),
        (["mode complain", "current"], AppArmorProfileData("complain", True)),
    ],
)
def test_profile_fact(output: list[str], state: AppArmorProfileData) -> None:
    assert AppArmorProfile().process(output) == state


def test_refused_without_apparmor() -> None:
    facts = NodeFacts(apparmor=False, kernel="6.1.0-test")
    deploy = getattr(deploy_layer, "__wrapped__", deploy_layer)
    with ctx_host.use(Node()), pytest.raises(DeployError, match=r"node1: .*off.*6\.1\.0-test"):
        deploy(Settings(), facts, distributions()["debian-13"])


@pytest.mark.parametrize(
    ("aa_exec", "command", "said"),
    [
        ('shift 3; exec "$@"', "true", ["works=0", "free=0", "confined=0"]),
        (
            "shift 3; case $* in true) ;; *) exit 9;; esac",
            "true",
            ["works=0", "free=0", "confined=9"],
        ),
        ("exit 1", "true", ["works=1", "free=0", "confined=1"]),
        ('shift 3; exec "$@"', "exit 7", ["works=0", "free=7", "confined=7"]),
    ],
)
def test_try_tells_denied_from_broken(
    tmp_path: Path, aa_exec: str, command: str, said: list[str]
) -> None:
    for name, body in {"aa-exec": aa_exec, "unshare": 'shift; exec "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", TRY, "sh", "true", command, "/"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.stdout.splitlines() == said
