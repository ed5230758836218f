"""The containers layer: Docker's settings among a user's, containerd, CRI-O, and NVIDIA's units."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import OperationError
from pyinfra.context import ctx_host

from nodeproof import merging
from nodeproof.facts.files import FileState, FileStateData
from nodeproof.facts.systemd import Unit, UnitData
from nodeproof.layers.containers import configuration, operations
from nodeproof.layers.containers.facts import ContainerdMajor, Crio, NvidiaCtk, NvidiaCtkData
from nodeproof.layers.containers.settings import CONTAINERD_CONF, NVIDIA_RUNTIME_PATH, Settings
from nodeproof.operations.files import Upload, render
from nodeproof.operations.merged import remembered

RECORDED = Path(__file__).parent.parent / "recorded" / "nvidia-ctk" / "before"
CRI_2, CRI_3 = configuration.CRI_PLUGINS[2], configuration.CRI_PLUGINS[3]

# What nodeproof wrote whole before it merged.
FORMER = """\
{
  "cdi-spec-dirs": ["/etc/cdi", "/var/run/cdi"],
  "features": {"cdi": true},
  "icc": false,
  "live-restore": true,
  "log-driver": "json-file",
  "log-opts": {"max-file": "3", "max-size": "50m"},
  "no-new-privileges": true,
  "userland-proxy": false
}
"""
FORMER_WITHOUT_CDI = "".join(line for line in FORMER.splitlines(keepends=True) if "cdi" not in line)


class Node:
    """A node of files and facts; what is uploaded to it is there afterwards."""

    def __init__(self, files: dict[str, str] | None = None, **facts: Any) -> None:
        self.files = dict(files or {})
        self.facts = facts
        self.noops: list[str] = []

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        if fact is FileState:
            text = self.files.get(arguments["path"])
            return text and FileStateData("file", "644", "root", "root", text.encode())
        if fact is Unit:
            return self.facts.get(arguments["unit"], UnitData())
        return self.facts[fact.__name__]

    def noop(self, reason: str) -> None:
        self.noops.append(reason)

    def run(self, operation: Any, **arguments: Any) -> list[str]:
        """Return the commands of an operation, with its uploads done."""
        with ctx_host.use(self):
            found = list(operation._inner(**arguments))
        for one in found:
            if isinstance(one, Upload):
                self.files[one.final] = one.src.read().decode()
        return [str(one) for one in found if not isinstance(one, Upload)]


def containerd(node: Node, settings: Settings | None = None, *, cdi: bool = True) -> list[str]:
    return node.run(
        operations.containerd,
        settings=settings or Settings(containerd=True),
        cdi=cdi,
        advice="say the same",
        unit="containerd.service",
    )


# Settings


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"nvidia_default": True}, 'nvidia_runtime is "none"'),
        ({"nvidia_runtime": "cdi", "cdi": False}, "cdi is false"),
        ({"nvidia_runtime": "legacy"}, "daemon-reload"),
        ({"nvidia_runtime": "csv"}, "Input should be"),
        ({"on_conflict": "keep"}, "Input should be"),
    ],
)
def test_what_cannot_go_together_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate(asked)


def test_legacy_goes_with_cgroups_that_systemd_does_not_reload() -> None:
    settings = Settings(nvidia_runtime="legacy", systemd_cgroup=False, docker=True)
    assert configuration.docker(settings, cdi=True)["exec-opts"] == ["native.cgroupdriver=cgroupfs"]
    assert "exec-opts" not in configuration.docker(Settings(), cdi=True)


# Docker


@pytest.mark.parametrize("text", [FORMER, FORMER_WITHOUT_CDI], ids=["cdi", "without"])
def test_what_was_written_whole_is_known_again(text: str) -> None:
    assert re.fullmatch(configuration.DOCKER_FORMER, text)
    settings, cdi = Settings(docker=True), "cdi" in text
    same = merging.merge(text, "json", configuration.docker(settings, cdi=cdi))
    assert same.text == text, "the first apply after an upgrade is silent"
    other = Settings(docker=True, icc=True)
    values, ours = configuration.docker(other, cdi=cdi), merging.parsed(text, "json")
    changed = merging.merge(text, "json", values, ours=ours)
    assert merging.parsed(changed.text, "json") == values


@pytest.mark.parametrize(
    "text",
    [
        FORMER.replace('"icc"', '"debug": true,\n  "icc"'),
        FORMER.replace("json-file", "journald"),
        FORMER.rstrip(),
        FORMER.replace("  ", "    "),
    ],
)
def test_what_somebody_else_wrote_is_not_taken_for_ours(text: str) -> None:
    assert not re.fullmatch(configuration.DOCKER_FORMER, text)


def test_nvidia_runtime_in_docker() -> None:
    values = configuration.docker(
        Settings(docker=True, nvidia_runtime="cdi", nvidia_default=True), cdi=True
    )
    assert values["runtimes"] == {"nvidia": {"path": "nvidia-container-runtime", "args": []}}
    assert values["default-runtime"] == "nvidia"
    assert {"runtimes", "default-runtime"} & configuration.docker(
        Settings(), cdi=True
    ).keys() == set()


# containerd


@pytest.mark.parametrize(
    ("major", "version", "plugin"), [(None, 2, CRI_2), (1, 2, CRI_2), (2, 3, CRI_3)]
)
def test_a_file_that_is_missing_is_made_in_the_layout_of_its_containerd(
    major: int | None, version: int, plugin: str
) -> None:
    node = Node(ContainerdMajor=major)
    commands = containerd(node)
    assert len(commands) == 2
    assert "config dump" in commands[1], "it is tried before it takes its place"
    written = tomllib.loads(node.files[CONTAINERD_CONF])
    assert written["version"] == version
    runc = written["plugins"][plugin]["containerd"]["runtimes"]["runc"]
    assert runc == {"runtime_type": "io.containerd.runc.v2", "options": {"SystemdCgroup": True}}
    assert written["plugins"][plugin]["enable_cdi"] is True
    assert containerd(node) == []
    assert node.noops == [f"{CONTAINERD_CONF} is as asked"]


@pytest.mark.parametrize("name", [path.name for path in RECORDED.glob("containerd-*")])
def test_files_of_all_layouts_keep_what_they_say(name: str) -> None:
    text = (RECORDED / name).read_text(encoding="utf-8")
    node = Node({CONTAINERD_CONF: text})
    assert containerd(node)
    after = node.files[CONTAINERD_CONF]
    assert [line for line in text.splitlines() if "#" in line] == [
        line for line in after.splitlines() if "#" in line
    ]
    said = tomllib.loads(after)
    plugin = configuration.CRI_PLUGINS[said["version"]]
    assert said["plugins"][plugin]["cdi_spec_dirs"] == ["/etc/cdi", "/var/run/cdi"]
    assert containerd(node) == []
    # Taken back by settings: what the file said in the first place, where nobody else said more.
    back = merging.merge(
        after,
        "toml",
        {},
        ours=merging.parsed(node.files[remembered(CONTAINERD_CONF)], "json"),
        usual=configuration.containerd_usual(said["version"]),
    )
    assert tomllib.loads(back.text).keys() == tomllib.loads(text).keys() | {"plugins"}


def test_containerd_without_cdi() -> None:
    node = Node(ContainerdMajor=1)
    containerd(node, cdi=False)
    assert "cdi" not in node.files[CONTAINERD_CONF]


def test_nvidia_runtime_class_is_as_runc_but_for_its_program() -> None:
    text = (RECORDED / "containerd-2-own.toml").read_text(encoding="utf-8")
    node = Node({CONTAINERD_CONF: text})
    settings = Settings(containerd=True, nvidia_runtime="cdi", nvidia_default=True)
    containerd(node, settings)
    engine = tomllib.loads(node.files[CONTAINERD_CONF])["plugins"][CRI_3]["containerd"]
    assert engine["default_runtime_name"] == "nvidia"
    nvidia, runc = engine["runtimes"]["nvidia"], engine["runtimes"]["runc"]
    assert nvidia["options"].pop("BinaryName") == NVIDIA_RUNTIME_PATH
    assert nvidia == runc
    containerd(node, Settings(containerd=True))
    engine = tomllib.loads(node.files[CONTAINERD_CONF])["plugins"][CRI_3]["containerd"]
    assert engine["default_runtime_name"] == "runc"
    assert engine["runtimes"].keys() == {"runc"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("root = '/x'\n", "its layout is version 1"),
        ("version = 4\n", "its layout is version 4"),
        ('version = 2\ndisabled_plugins = ["cri"]\n', "disabled_plugins holds cri"),
        ("version = \n", "is no TOML"),
    ],
)
def test_what_cannot_be_merged_is_refused(text: str, said: str) -> None:
    with pytest.raises(OperationError, match=said):
        containerd(Node({CONTAINERD_CONF: text}))


def test_a_users_own_cgroups_are_a_conflict_unless_they_give_way() -> None:
    runtime = f'plugins."{CRI_2}".containerd.runtimes.runc'
    text = f'version = 2\n[{runtime}]\nruntime_type = "io.containerd.kata.v2"\n'
    with pytest.raises(OperationError, match=r"runtime_type is \"io.containerd.kata.v2\" there"):
        containerd(Node({CONTAINERD_CONF: text}))
    assert containerd(
        Node({CONTAINERD_CONF: text}), Settings(containerd=True, on_conflict="replace")
    )


@pytest.mark.parametrize(
    ("output", "major"),
    [
        ([], None),
        (["containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1"], 1),
        (["containerd containerd.io v2.2.6 1c4457e00facac03ce1d75f7b6777a7a851e5c41"], 2),
    ],
)
def test_containerd_major(output: list[str], major: int | None) -> None:
    assert ContainerdMajor().process(output) == major


def test_containerd_that_says_no_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="containerd --version says"):
        ContainerdMajor().process(["containerd"])


# CRI-O


@pytest.mark.parametrize(("output", "there"), [([], False), (["/usr/bin/crio"], True)])
def test_crio_fact(output: list[str], there: bool) -> None:
    assert Crio().process(output) is there


def test_crio_drop_in() -> None:
    plain = tomllib.loads(render("containers/crio.conf.j2", settings=Settings(crio=True)))
    assert plain == {
        "crio": {
            "runtime": {
                "cgroup_manager": "systemd",
                "cdi_spec_dirs": ["/etc/cdi", "/var/run/cdi"],
            }
        }
    }
    asked = Settings(
        crio=True, nvidia_runtime="legacy", nvidia_default=True, systemd_cgroup=False, cdi=False
    )
    full = tomllib.loads(render("containers/crio.conf.j2", settings=asked))["crio"]["runtime"]
    assert (full["cgroup_manager"], full["conmon_cgroup"]) == ("cgroupfs", "pod")
    assert full["cdi_spec_dirs"] == []
    assert full["default_runtime"] == "nvidia"
    assert full["runtimes"]["nvidia"] == {
        "runtime_path": NVIDIA_RUNTIME_PATH,
        "runtime_type": "oci",
    }


# NVIDIA's units

ACTIVE = UnitData(known=True, active=True, state="enabled")
OFF = UnitData(known=True, active=False, state="disabled")


def test_without_the_toolkit_nothing_is_refreshed() -> None:
    node = Node(NvidiaCtk=NvidiaCtkData())
    assert node.run(operations.cdi_refresh) == []
    assert node.noops == ["NVIDIA's container toolkit is not installed"]


def test_the_toolkits_own_units_are_enabled_and_ours_stay_away() -> None:
    node = Node(NvidiaCtk=NvidiaCtkData(present=True, refreshes=True))
    commands = node.run(operations.cdi_refresh)
    assert commands[1:] == [
        "systemctl enable -- nvidia-cdi-refresh.service",
        "systemctl enable -- nvidia-cdi-refresh.path",
        "systemctl start -- nvidia-cdi-refresh.path",
    ]
    assert node.files.keys() == {operations.DEV_CHAR_RULE}


def test_an_older_toolkit_gets_units_like_them() -> None:
    node = Node(NvidiaCtk=NvidiaCtkData(present=True))
    commands = node.run(operations.cdi_refresh)
    assert commands.count("systemctl daemon-reload") == 2
    assert commands[-1] == "systemctl start -- nodeproof-cdi-refresh.path"
    ours = {f"/etc/systemd/system/nodeproof-cdi-refresh.{kind}" for kind in ("service", "path")}
    assert node.files.keys() == {operations.DEV_CHAR_RULE, *ours}
    enabled = {f"nodeproof-cdi-refresh.{kind}": ACTIVE for kind in ("service", "path")}
    node.facts |= enabled
    assert node.run(operations.cdi_refresh) == []


def test_devices_without_links_get_them() -> None:
    links = ("/dev/char/195:0", "/dev/char/195:255")
    node = Node(
        {operations.DEV_CHAR_RULE: render("containers/nvidia-dev-char.rules.j2")},
        NvidiaCtk=NvidiaCtkData(present=True, refreshes=True, unlinked=links),
        **{"nvidia-cdi-refresh.service": ACTIVE, "nvidia-cdi-refresh.path": ACTIVE},
    )
    assert node.run(operations.cdi_refresh) == [
        "/usr/bin/nvidia-ctk system create-dev-char-symlinks"
    ]


def test_a_watch_that_is_off_is_turned_on() -> None:
    node = Node(
        {operations.DEV_CHAR_RULE: render("containers/nvidia-dev-char.rules.j2")},
        NvidiaCtk=NvidiaCtkData(present=True, refreshes=True),
        **{"nvidia-cdi-refresh.service": ACTIVE, "nvidia-cdi-refresh.path": OFF},
    )
    assert node.run(operations.cdi_refresh) == [
        "systemctl enable -- nvidia-cdi-refresh.path",
        "systemctl start -- nvidia-cdi-refresh.path",
    ]


def test_toolkit_fact_sorts_what_it_is_told() -> None:
    assert NvidiaCtk().process([]) == NvidiaCtkData()
    assert NvidiaCtk().process(["present", "refreshes", "/dev/char/195:0"]) == NvidiaCtkData(
        present=True, refreshes=True, unlinked=("/dev/char/195:0",)
    )


def test_toolkit_fact_runs_here() -> None:
    said = subprocess.run(["sh", "-c", NvidiaCtk().command()], capture_output=True, check=True)
    assert said.stderr == b""
