"""The rocm layer: what it reads of a node, what its operations do, and checks that need a GPU."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.operation import OperationMeta
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host

from nodeproof.facts.offers import Offer
from nodeproof.facts.systemd import UnitData
from nodeproof.layers.rocm import checks, operations
from nodeproof.layers.rocm.facts import (
    Alternatives,
    Group,
    Live,
    LiveDriver,
    option_is,
)
from nodeproof.layers.rocm.settings import Settings
from nodeproof.operations.files import render
from nodeproof.operations.stacks import as_supplied
from nodeproof.repositories.stack import NEWEST

MODULE = "/lib/modules/6.1.0-50-amd64/updates/dkms/amdgpu.ko"


def settings(**asked: Any) -> Settings:
    return Settings.model_validate(asked)


# Facts


def test_live_driver_is_read() -> None:
    live = Live().process(
        [
            *("loaded=yes", "srcversion=A1", f"file={MODULE}", "file_srcversion=A1"),
            *("param=noretry 0", "gpu=CPX NPS4", "gpu= "),
        ]
    )
    assert live.loaded
    assert live.built_here
    assert not live.stale
    assert not live.blacklisted
    assert live.params == {"noretry": "0"}
    assert live.partitions == (
        {"compute": "CPX", "memory": "NPS4"},
        {"compute": "", "memory": ""},
    )
    own = Live().process(["loaded=yes", "srcversion=A1", "file_srcversion=B2", "blacklisted=yes"])
    assert own.stale
    assert own.blacklisted
    assert not own.built_here


def test_scripts_on_this_machine(tmp_path: Path) -> None:
    """With no driver, no apt and no alternatives they say so, and nothing goes wrong."""
    for command in (Live().command("noretry"), Alternatives().command()):
        done = subprocess.run(["sh", "-c", str(command)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    assert not Live().process(done.stdout.splitlines()).loaded


@pytest.mark.parametrize(
    ("params", "value", "found"),
    [
        ({"noretry": "-1"}, "0", False),
        ({"noretry": "16"}, "0x10", True),
        ({"noretry": "Y"}, "1", True),
        ({"noretry": "a"}, "a", True),
        ({}, "0", None),
    ],
)
def test_option_of_the_loaded_module(
    params: dict[str, str], value: str, found: bool | None
) -> None:
    assert option_is(params, "noretry", value) is found


QUERIED = """Name: rocm-bin
Link: /opt/rocm/bin
Status: auto
Best: /opt/rocm/core-10.0/bin
Value: /opt/rocm/core-10.0/bin

Alternative: /opt/rocm/core-10.0/bin
Priority: 1000

Alternative: /opt/rocm/core-7.14/bin
Priority: 714
Name: core-10
Link: /opt/rocm/core-10
Status: manual
Value: none

Alternative: /opt/rocm/core-10.0
Priority: 1000
"""
TEN, SEVEN = "/opt/rocm/core-10.0", "/opt/rocm/core-7.14"
GROUPS = {
    "rocm-bin": Group(f"{TEN}/bin", choices=(f"{TEN}/bin", f"{SEVEN}/bin")),
    "core-10": Group("none", chosen=True, choices=(TEN,)),
}


def test_alternatives_are_read() -> None:
    assert Alternatives().process(QUERIED.splitlines()) == GROUPS


def test_what_of_a_group_is_in_a_release() -> None:
    both = GROUPS["rocm-bin"]
    assert both.of(SEVEN) == f"{SEVEN}/bin"
    assert both.of("/opt/rocm/core-7.1") == ""
    assert GROUPS["core-10"].of(TEN) == TEN


# Operations


class Node:
    """A node that answers for facts and listens to no-operations."""

    name = "node1"

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.noops: list[str] = []

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        return self.facts[fact.__name__]

    def noop(self, reason: str) -> None:
        self.noops.append(reason)


def commands(operation: Any, node: Node, **arguments: Any) -> list[str]:
    with ctx_host.use(node):
        return [str(command) for command in operation._inner(**arguments)]


def earlier(*, changed: bool) -> OperationMeta:
    meta = OperationMeta("", None)
    meta.set_complete(True, ["changed"] if changed else [], CommandOutput([]))
    return meta


@pytest.mark.parametrize(
    ("there", "offered", "taken"),
    [
        ("", (("2", "a"), ("1", "a")), "2"),
        ("1", (("2", "a"), ("1", "a")), "1"),
        ("1", (("2", "a"), ("1", "b")), "2"),
        ("2", (("1", "a"),), "1"),
        ("1", (("2", "b"),), "1"),
        ("", (("2", "b"),), NEWEST),
    ],
)
def test_versions_are_those_of_the_packages_own_repository(
    there: str, offered: tuple[tuple[str, str], ...], taken: str
) -> None:
    installed = {"x": there} if there else {}
    offers = {"x": tuple(Offer(*one) for one in offered)}
    assert as_supplied({"x": "a/"}, installed, offers) == {"x": taken}


@pytest.mark.parametrize(
    ("groups", "prefix", "several", "installed", "many"),
    [
        (GROUPS, TEN, True, False, 1),  # core-10 leads nowhere
        ({"rocm-bin": GROUPS["rocm-bin"]}, TEN, True, False, 0),
        ({"rocm-bin": GROUPS["rocm-bin"]}, SEVEN, True, False, 1),
        ({}, SEVEN, True, True, 1),  # what is not there yet will be wrong, or not
        ({}, SEVEN, False, True, 0),
        ({}, SEVEN, True, False, 0),
    ],
)
def test_default_release(
    groups: dict[str, Group], prefix: str, several: bool, installed: bool, many: int
) -> None:
    node = Node(Alternatives=groups)
    found = commands(
        operations.default_release,
        node,
        prefix=prefix,
        several=several,
        after=[earlier(changed=installed)],
    )
    assert len(found) == many
    assert bool(node.noops) is not bool(many)
    assert all(one.endswith(f" sh {prefix}") for one in found)


def test_default_release_goes_back_to_what_it_was() -> None:
    with ctx_host.use(Node(Alternatives=GROUPS)):
        (change,) = operations.default_release._inner(prefix=SEVEN, several=True)
    undone = [str(item).rpartition("\t")[2] for item in change.touches]
    assert undone == [
        "update-alternatives --quiet --auto rocm-bin >&2",
        "update-alternatives --quiet --set core-10 none >&2",
    ]


ON = UnitData(known=True, state="enabled", active=True)


@pytest.mark.parametrize(
    ("unit", "says", "start", "restarts"),
    [
        (ON, "CPX", True, None),
        (ON, "SPX", True, True),
        (replace(ON, pending=True), "CPX", True, True),
        (replace(ON, active=False), "CPX", True, True),
        (replace(ON, active=False), "SPX", False, None),
        (UnitData(), "SPX", False, False),
    ],
)
def test_gpus_are_divided(unit: UnitData, says: str, start: bool, restarts: bool | None) -> None:
    live = LiveDriver(loaded=True, partitions=({"compute": says, "memory": "NPS1"},))
    found = commands(
        operations.divided,
        Node(Unit=unit, Live=live),
        unit="u.service",
        wanted={"compute": "CPX"},
        options=[],
        start=start,
        after=earlier(changed=False),
    )
    assert len(found) == (restarts is not None)
    assert ("restart" in "".join(found)) is bool(restarts)


def test_gpus_are_left_as_they_are() -> None:
    assert commands(operations.undivided, Node(Unit=UnitData()), unit="u.service") == []
    found = commands(operations.undivided, Node(Unit=ON), unit="u.service")
    assert [one.split()[1] for one in found] == ["disable", "stop"]


# What the unit runs


def ran(tmp_path: Path, **gpus: tuple[str, str]) -> tuple[int, list[str], dict[str, str]]:
    """Run what the unit runs, with folders for GPUs; return its end, what it called, and files."""
    text = render(
        "rocm/nodeproof-rocm.service.j2", compute="CPX", memory="NPS4", amd_smi="/bin/amd-smi"
    )
    (tmp_path / "bin").mkdir()
    for program in ("modprobe", "amd-smi"):
        path = tmp_path / "bin" / program
        path.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >>{tmp_path}/called\n')
        path.chmod(0o755)
    for name, (compute, memory) in gpus.items():
        folder = tmp_path / "amdgpu" / name
        folder.mkdir(parents=True)
        (folder / "current_compute_partition").write_text(f"{compute}\n")
        (folder / "current_memory_partition").write_text(f"{memory}\n")
    code = 0
    for line in re.findall(r"(?m)^ExecStart=(.*)$", text):
        told = line.replace("$$", "$").replace("/sys/bus/pci/drivers", str(tmp_path))
        argv = shlex.split(told.replace("/bin/amd-smi", f"{tmp_path}/bin/amd-smi"))
        argv[0] = argv[0].replace("/sbin/", f"{tmp_path}/bin/")
        code = (
            code
            or subprocess.run(
                argv,
                env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
                check=False,
                capture_output=True,
            ).returncode
        )
    called = (tmp_path / "called").read_text().splitlines()
    memory = {name: (tmp_path / "amdgpu" / name / "current_memory_partition") for name in gpus}
    return code, called, {name: path.read_text().strip() for name, path in memory.items()}


LOAD, UNLOAD = "modprobe amdgpu", "modprobe -r amdgpu"
SET = "amd-smi set --gpu all --compute-partition CPX"


def test_unit_does_nothing_to_what_is_right(tmp_path: Path) -> None:
    assert ran(tmp_path, a=("CPX", "NPS4"), b=("CPX", "NPS4"))[:2] == (0, [LOAD])


def test_unit_divides_all_where_one_is_wrong(tmp_path: Path) -> None:
    code, called, memory = ran(tmp_path, a=("CPX", "NPS4"), b=("SPX", "NPS1"))
    assert (code, called) == (0, [LOAD, UNLOAD, LOAD, SET])
    assert memory == {"a": "NPS4", "b": "NPS4"}


def test_unit_fails_where_there_is_no_gpu(tmp_path: Path) -> None:
    assert ran(tmp_path)[0] != 0


# Checks that need a GPU

RIGHT = LiveDriver(
    loaded=True,
    srcversion="A1",
    file=MODULE,
    file_srcversion="A1",
    params={"noretry": "0"},
    partitions=({"compute": "CPX", "memory": "NPS4"},),
)
ASKED = settings(xnack=True, compute_partition="cpx", memory_partition="nps4")
DRIVER = checks.test_driver_that_runs_is_the_one_on_the_disk
KERNELS = settings(driver="kernel")


def test_checks_pass_on_what_is_right() -> None:
    DRIVER(ASKED, RIGHT)
    DRIVER(KERNELS, replace(RIGHT, file="/lib/modules/6.1.0/kernel/amdgpu.ko"))
    checks.test_driver_is_not_kept_away(RIGHT)
    checks.test_module_options_in_effect(ASKED, RIGHT)
    checks.test_gpus_divided_as_asked(ASKED, RIGHT)
    assert loaded(RIGHT) is RIGHT
    checks.test_gpus_are_for_their_group(Said("660 root render /dev/kfd\n"), RIGHT)  # type: ignore[arg-type]


class Said:
    """A host that says one thing."""

    def __init__(self, text: str) -> None:
        self.text = text

    def check_output(self, command: str) -> str:
        return self.text


def loaded(live: LiveDriver) -> LiveDriver:
    found: LiveDriver = checks.loaded.__wrapped__(ASKED, live)  # type: ignore[attr-defined]
    return found


FAILS: dict[str, tuple[Callable[[], object], str]] = {
    "no driver": (lambda: loaded(LiveDriver()), "amdgpu is not loaded"),
    "no GPU": (lambda: loaded(replace(RIGHT, partitions=())), "amdgpu drives no GPU"),
    "old module goes on": (
        lambda: DRIVER(ASKED, replace(RIGHT, file_srcversion="B2")),
        "another amdgpu module is loaded than the one on the disk",
    ),
    "nothing on the disk": (
        lambda: DRIVER(ASKED, replace(RIGHT, file_srcversion="", srcversion="")),
        "there is no amdgpu module on the disk",
    ),
    "the kernel's own": (lambda: DRIVER(ASKED, replace(RIGHT, file="/x/amdgpu.ko")), "own driver"),
    "AMD's": (lambda: DRIVER(KERNELS, RIGHT), "AMD's driver is loaded"),
    "kept away": (
        lambda: checks.test_driver_is_not_kept_away(replace(RIGHT, blacklisted=True)),
        "blacklist amdgpu",
    ),
    "option of another value": (
        lambda: checks.test_module_options_in_effect(settings(xnack=False), RIGHT),
        "noretry is 0, not 1",
    ),
    "option that is not told": (
        lambda: checks.test_module_options_in_effect(ASKED, replace(RIGHT, params={})),
        "the module does not tell noretry",
    ),
    "divided otherwise": (
        lambda: checks.test_gpus_divided_as_asked(
            ASKED, replace(RIGHT, partitions=({"compute": "SPX", "memory": "NPS4"},))
        ),
        "compute is SPX, not CPX",
    ),
    "cannot be divided": (
        lambda: checks.test_gpus_divided_as_asked(
            ASKED, replace(RIGHT, partitions=({"compute": "", "memory": "NPS4"},))
        ),
        "compute is not to be had, not CPX",
    ),
    "open to all": (
        lambda: checks.test_gpus_are_for_their_group(
            Said("666 root render /dev/kfd\n660 root render /dev/dri/renderD128"),  # type: ignore[arg-type]
            RIGHT,
        ),
        "666 root render /dev/kfd",
    ),
}


@pytest.mark.parametrize("case", FAILS)
def test_checks_fail_on_what_is_not(case: str) -> None:
    check, said = FAILS[case]
    with pytest.raises(AssertionError, match=said):
        check()
