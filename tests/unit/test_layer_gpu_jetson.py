"""The gpu layer on a Jetson: what may be asked, what is refused, and what is done.

What nvpmodel says where only a boot brings a mode is what owners of Orin and Thor published.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError, OperationError
from pyinfra.api.operation import OperationMeta
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host

from nodeproof.catalog.distributions import distributions
from nodeproof.catalog.whole import shipped
from nodeproof.errors import UsageError
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.boot import BootData
from nodeproof.facts.systemd import UnitData
from nodeproof.layers.gpu import deploy, jetpack, operations
from nodeproof.layers.gpu.jetpack import JetsonSources, SourcesData
from nodeproof.layers.gpu.jetson import JetsonData
from nodeproof.layers.gpu.jetson_deploy import why_not
from nodeproof.layers.gpu.settings import Jetson as Asked
from nodeproof.layers.gpu.settings import Settings
from nodeproof.scripts import text

JETSON = Accelerators(platform="jetson", l4t="36.4.3")


# What may be asked


@pytest.mark.parametrize(
    "asked",
    [{"jetpack": "six"}, {"power_mode": "maxn;id"}, {"mode": 1}, {"packages": "nvidia-jetpack"}],
)
def test_what_cannot_be_asked(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"jetson": asked})


LIST = "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list"
COMMON, T234 = (f"https://archive.example/jetson/{one}" for one in ("common", "t234"))
SOURCES = SourcesData((COMMON, T234), ("r36.4",))


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([f"{LIST}|deb {COMMON} r36.4 main", f"{LIST}|deb {T234} r36.4 main"], SOURCES),
        ([f"{LIST}|# deb {COMMON} r36.4 main"], SourcesData()),
        (
            [f"{LIST}|deb [arch=arm64 signed-by=/k.gpg] {COMMON} r36.4 main"],
            SourcesData((COMMON,), ("r36.4",)),
        ),
        (
            [f"/a.list|deb {COMMON} r36.4 main", "/a.list|deb http://archive.example/u noble main"],
            SourcesData((COMMON,), ("r36.4",), ("/a.list",)),
        ),
        (
            ["/a.sources|# x", "/a.sources|Types: deb", f"/a.sources|URIs: {COMMON} {T234}",
             "/a.sources|Suites: r36.4", "/a.sources|"],
            SOURCES,
        ),
        (
            ["/a.sources|Enabled: no", f"/a.sources|URIs: {COMMON}", "/a.sources|Suites: r36.4"],
            SourcesData(),
        ),
    ],
)  # fmt: skip
def test_sources_are_read(lines: list[str], found: SourcesData) -> None:
    assert JetsonSources().process(lines) == found


# Which JetPack


def test_jetpack_is_that_of_the_jetson_linux() -> None:
    assert jetpack.release(Asked(), "36.4.3", shipped()) == "6.2"
    assert jetpack.release(Asked(jetpack="6.2"), "36.4.3", shipped()) == "6.2"
    assert jetpack.stack(Asked(packages="all"), "6.2").wanted == {"nvidia-jetpack": "6.2[+-]b*"}


@pytest.mark.parametrize(
    ("asked", "l4t", "said"),
    [
        ({}, "", "does not say which Jetson Linux runs"),
        ({}, "36.4.7", "Jetson Linux 36.4.7 is of no JetPack in the catalog"),
        ({"jetpack": "6.2.2"}, "36.4.3", "36.4.3 runs, and JetPack 6.2.2 is that of 36.5"),
        ({"jetpack": "9.9"}, "36.4.3", "JetPack 9.9 is not in the catalog"),
    ],
)
def test_jetpack_of_another_jetson_linux_is_refused(
    asked: dict[str, Any], l4t: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        jetpack.release(Asked(**asked), l4t, shipped())
    assert said in caught.value.message


def test_repository_is_the_nodes_with_the_pinned_key() -> None:
    found = jetpack.repository(Settings(), "36.4.3", SOURCES, shipped())
    assert (found.uris, found.suites, found.components) == ((COMMON, T234), ("r36.4",), ("main",))
    assert found.key.fingerprints == ("3C6D1FF3100C8C3ABB0869C0E6543461A9996195",)
    assert "Signed-By: /etc/apt/keyrings/nodeproof-jetson.asc" in found.sources_text()
    assert "-1" not in found.preferences_text()
    assert "Package: *\nPin: origin" in found.preferences_text()


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (SourcesData(), "apt is told of no Jetson repository; put back"),
        (SourcesData((COMMON,), ("r36.3", "r36.4")), "told of the repositories of r36.3; they"),
        (SourcesData((COMMON,), ("r36.4",), ("/etc/apt/sources.list",)), "beside others; move"),
        (SourcesData(("https://archive.example/jetson/<SOC>",), ("r36.4",)), "not allowed there"),
    ],
)
def test_other_repositories_are_refused(sources: SourcesData, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        jetpack.repository(Settings(), "36.4.3", sources, shipped())
    assert said in caught.value.message


# What is done

ORIN_SUPER = {"15W": 0, "25W": 1, "MAXN_SUPER": 2, "7W": 3}
NOW = JetsonData("25W", 1, ORIN_SUPER, 1, {"cpu0": (1, 2), "GPU": (1, 2)})


@pytest.mark.parametrize(
    ("asked", "now", "said"),
    [
        ({"power_mode": "25W"}, JetsonData(), "power_mode: nvpmodel -q names no mode"),
        ({"power_mode": "30W"}, NOW, "there is no 30W in /etc/nvpmodel.conf, but 15W, 25W, MAXN_"),
        ({"highest_clocks": True}, JetsonData(), "names no clock of the GPU"),
        ({"power_mode": "7W", "highest_clocks": True}, NOW, ""),
    ],
)
def test_what_a_jetson_cannot_be_set_to(asked: dict[str, Any], now: JetsonData, said: str) -> None:
    found = why_not(Asked(**asked), now)
    assert said in found if said else not found


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


def commands(operation: Any, node: Node, **arguments: Any) -> list[Any]:
    with ctx_host.use(node):
        return list(operation._inner(**arguments))


def moded(now: JetsonData, *notes: str, mode: str = "MAXN_SUPER") -> tuple[list[Any], list[str]]:
    node = Node(Jetson=now, Boot=BootData(notes=notes))
    return commands(operations.power_mode, node, mode=mode, unit="clocks.service"), node.noops


def test_power_mode_is_set_by_the_id_of_its_name() -> None:
    (change,), _ = moded(NOW)
    assert "sh 2 clocks.service /run/nodeproof/reboot/jetson-power-mode" in str(change)
    *files, undo = map(str, change.touches)
    assert undo.endswith("printf 'no\\n' | nvpmodel -m 1")
    assert files == [
        "file\t/var/lib/nvpmodel/status",
        "file\t/run/nodeproof/reboot/jetson-power-mode",
    ]


@pytest.mark.parametrize(
    ("now", "notes"),
    [
        (JetsonData("MAXN_SUPER", 2, ORIN_SUPER, 2), ()),
        (JetsonData("MAXN_SUPER", 2, ORIN_SUPER, None), ()),
        (JetsonData("25W", 1, ORIN_SUPER, 2), ("power mode MAXN_SUPER comes with a boot",)),
    ],
)
def test_power_mode_that_is_right_or_comes_with_a_boot(
    now: JetsonData, notes: tuple[str, ...]
) -> None:
    found, noops = moded(now, *notes)
    assert (found, len(noops)) == ([], 1)


def test_power_mode_that_a_boot_did_not_bring_is_set_again() -> None:
    assert len(moded(JetsonData("25W", 1, ORIN_SUPER, 2))[0]) == 1
    assert len(moded(JetsonData("MAXN_SUPER", 2, ORIN_SUPER, 1))[0]) == 1
    with pytest.raises(OperationError, match="knows no mode 30W"):
        moded(NOW, mode="30W")


def written(*, changed: bool) -> OperationMeta:
    meta = OperationMeta("", None)
    meta.set_complete(True, ["changed"] if changed else [], CommandOutput([]))
    return meta


def test_clocks_are_held_once() -> None:
    held = JetsonData("25W", 1, ORIN_SUPER, 1, {"GPU": (2, 2)})
    runs = UnitData(known=True, active=True, state="enabled")
    for unit, has, changed, count in (
        (runs, held, False, 0),
        (runs, NOW, False, 1),
        (runs, held, True, 1),
        (UnitData(known=True, state="enabled"), held, False, 1),
    ):
        node = Node(Unit=unit, Jetson=has)
        after = written(changed=changed)
        found = commands(operations.clocks_held, node, unit="clocks.service", after=after)
        assert len(found) == count
        assert all("restart -- clocks.service" in str(one) for one in found)


@pytest.mark.parametrize(
    ("asked", "has", "said"),
    [
        ({"jetson": {}}, Accelerators(platform="vm"), "jetson: this is no Jetson"),
        ({"jetson": {"power_mode": "30W"}}, JETSON, "jetson.power_mode: there is no 30W"),
        ({"jetson": {"packages": "all"}}, JETSON, "apt is told of no Jetson repository"),
    ],
)
def test_refused_before_the_first_change(
    asked: dict[str, Any], has: Accelerators, said: str
) -> None:
    node = Node(Gpus=has, Jetson=NOW, JetsonSources=SourcesData())
    settings = Settings.model_validate({"driver": "none", **asked})
    with ctx_host.use(node), pytest.raises(DeployError) as caught:
        deploy.deploy_layer._inner(settings, None, distributions()["ubuntu-22.04"])
    assert said in str(caught.value)


# The script that sets the mode

NVPMODEL = """#!/bin/sh
# As owners published it: it asks where only a boot brings a mode, and all but yes declines.
case $1 in
-q) cat {here}/current;;
-m) [ "$2" != 3 ] || {{
      echo "NVPM WARN: Reboot required for changing to this power mode: 3"
      echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
      read -r said
      case $said in YES|yes) echo rebooted >{here}/rebooted;; esac
      echo "NVPM ERROR: optMask is 1, no request for power mode"; exit 234; }}
    [ "$2" != 9 ] || {{ echo "NVPM ERROR: invalid power mode"; exit 255; }}
    printf 'pmode:%04d' "$2" >{here}/var/status;;
esac
"""


@pytest.fixture
def mode(tmp_path: Path) -> Callable[[int], subprocess.CompletedProcess[str]]:
    (tmp_path / "nvpmodel").write_text(NVPMODEL.format(here=tmp_path))
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/told\n')
    (tmp_path / "var").mkdir()
    for name in ("nvpmodel", "systemctl"):
        (tmp_path / name).chmod(0o755)
    script = text("jetson-power-mode.sh").replace("/var/lib/nvpmodel", f"{tmp_path}/var")

    def set_to(number: int, shell: str = "dash") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shutil.which(shell) or "sh", "-c", script, "sh", str(number), "clocks.service",
             f"{tmp_path}/notes/jetson", "a reason"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return set_to


def test_mode_that_comes_at_once(tmp_path: Path, mode: Callable[[int], Any]) -> None:
    assert mode(2).returncode == 0
    assert (tmp_path / "var/status").read_text() == "pmode:0002"
    assert not (tmp_path / "notes").exists()
    told = (tmp_path / "told").read_text().splitlines()
    assert [line.split()[0] for line in told] == ["is-active", "stop", "start"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "pmode:0003"),
        ("pmode:0001", "pmode:0003"),
        ("pmode:0002 fmode:cool", "pmode:0003 fmode:cool"),
    ],
)
def test_mode_that_comes_with_a_boot(
    tmp_path: Path, mode: Callable[[int], Any], before: str, after: str
) -> None:
    """It is never told yes: it would reboot the node there and then."""
    if before:
        (tmp_path / "var/status").write_text(before)
    done = mode(3)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "var/status").read_text() == after
    assert (tmp_path / "notes/jetson").read_text() == "a reason\n"
    assert not (tmp_path / "rebooted").exists()
    assert mode(2).returncode == 0
    assert not (tmp_path / "notes/jetson").exists()


def test_mode_that_cannot_be_set(tmp_path: Path, mode: Callable[[int], Any]) -> None:
    done = mode(9)
    assert (done.returncode, done.stderr) == (1, "NVPM ERROR: invalid power mode\n")
    assert "start" in (tmp_path / "told").read_text()
