"""`nodeproof resolve` and `explain`: what they answer, and what they end with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.resolve_cases import a_machine

from nodeproof.catalog.overlay import VARIABLE
from nodeproof.catalog.resolve.image import Image
from nodeproof.cli.explain import explain
from nodeproof.cli.main import cli
from nodeproof.engine.result import Command, Node, NodeStatus
from nodeproof.engine.result import Result as RunResult
from nodeproof.errors import Exit
from nodeproof.layers.gpu.settings import Settings
from nodeproof.layers.rocm.settings import Settings as Rocm

Invoke = Callable[..., Result]

NO_FIX_FOR_620 = """
[advisories.nvidia-5990]
subject = "driver"
published = 2026-11-20
refuses = true
fixed = { "580" = "580.178.04", "595" = "595.91.07", "615" = "615.71.09" }
url = "https://github.com/NVIDIA/product-security/tree/main/2026/5990"
sources = ["nvidia-bulletins"]
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a folder of bundles of its own."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "own"


@pytest.fixture
def invoke() -> Invoke:
    return lambda *arguments: CliRunner().invoke(cli, arguments, prog_name="nodeproof")


# Resolving without a node


def facts_file(tmp_path: Path, name: str = "facts.json", **on: Any) -> str:
    on = {"gpus": ["h100-pcie"], **on}
    path = tmp_path / name
    path.write_text(a_machine(on).model_dump_json())
    return str(path)


def settings_file(tmp_path: Path, text: str, name: str = "settings.toml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_a_choice_is_0(tmp_path: Path, invoke: Invoke) -> None:
    settings = settings_file(tmp_path, 'driver = "580"\ncuda = ["13.0"]\n')
    done = invoke("resolve", "--facts", facts_file(tmp_path), "--settings", settings)
    assert done.exit_code == Exit.DONE
    assert done.stdout.startswith("chosen: driver 580.178.04 (open), CUDA 13.0.2\n")
    assert "because: " in done.stdout


def test_a_refusal_is_4(tmp_path: Path, invoke: Invoke) -> None:
    settings = settings_file(tmp_path, '[gpu]\ndriver = "570"\n')
    done = invoke("resolve", "--facts", facts_file(tmp_path), "--settings", settings)
    assert done.exit_code == Exit.REFUSED
    assert done.stdout.startswith("refused: R570 ended on 2026-01-27  [support.branch-is-maintai")
    assert "nearest that works: driver = '580'" in done.stdout


def test_answers_are_json_too(tmp_path: Path, invoke: Invoke) -> None:
    settings = settings_file(tmp_path, '{"gpu": {"driver": "570"}}', "settings.json")
    facts = facts_file(tmp_path)
    chosen = json.loads(invoke("resolve", "--facts", facts, "--json").stdout)
    assert (chosen["verdict"], chosen["driver"]["version"]) == ("chosen", "620.70.06")
    refused = invoke("resolve", "--facts", facts, "--settings", settings, "--json")
    assert refused.exit_code == Exit.REFUSED
    assert json.loads(refused.stdout)["nearest"]["settings"] == {"driver": "580"}


def test_your_own_bundle_counts(own: Path, tmp_path: Path, invoke: Invoke) -> None:
    own.mkdir()
    (own / "mine.toml").write_text(NO_FIX_FOR_620)
    done = invoke("resolve", "--facts", facts_file(tmp_path))
    assert done.exit_code == Exit.REFUSED
    assert "R620 got no fix for nvidia-5990" in done.stdout


def result_of(*nodes: Node) -> RunResult:
    return RunResult(
        schema="nodeproof/result/1",
        command=Command.INSPECT,
        run="20261123T120000-x",
        reverts="",
        version="0",
        inventory="site.py",
        started="2026-11-23T12:00:00Z",
        duration_s=1.0,
        nodes=list(nodes),
    )


def a_node(name: str, **on: Any) -> Node:
    facts = a_machine({"gpus": ["h100-pcie"], **on}).model_dump(mode="json")
    return Node(name=name, status=NodeStatus.OK, facts={**facts, "cpus": 64})


def test_what_inspect_printed_is_read(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "inspected.json"
    result = result_of(a_node("node1"), a_node("node2", gpus=["tesla-v100-pcie"]))
    path.write_text(result.model_dump_json(by_alias=True))
    done = invoke("resolve", "--facts", str(path), "--node", "node2")
    assert done.stdout.startswith("chosen: driver 580.178.04 (proprietary)")
    which = invoke("resolve", "--facts", str(path))
    assert (which.exit_code, which.stdout) == (Exit.USAGE, "")
    assert "pass --node; they are node1, node2" in which.stderr
    path.write_text(result_of(a_node("only")).model_dump_json(by_alias=True))
    assert invoke("resolve", "--facts", str(path)).exit_code == Exit.DONE


@pytest.mark.parametrize(
    ("facts", "settings", "said"),
    [
        ("{", "", "is not JSON"),
        ("[]", "", "holds no table"),
        ("{}", "", "os_id: Field required"),
        ('{"os_id": "debian", "os_version": "13"}', "", "accelerators: Field required"),
        (None, "driver = ", "is not TOML"),
        (None, 'driver = "best"', "gpu: driver: not allowed here ('best')"),
        (None, 'drivers = "580"', "did you mean driver?"),
        (None, 'cuda = "13"', "gpu: cuda: wrong value"),
        (None, "gpu = 3", "gpu is no table"),
    ],
)
def test_wrong_files_are_2(
    facts: str | None, settings: str, said: str, tmp_path: Path, invoke: Invoke
) -> None:
    path = Path(facts_file(tmp_path))
    if facts is not None:
        path.write_text(facts)
    options = ("--settings", settings_file(tmp_path, settings)) if settings else ()
    done = invoke("resolve", "--facts", str(path), *options)
    assert (done.exit_code, done.stdout) == (Exit.USAGE, "")
    assert said in done.stderr


def test_a_missing_file_is_2(tmp_path: Path, invoke: Invoke) -> None:
    done = invoke("resolve", "--facts", str(tmp_path / "none.json"))
    assert done.exit_code == Exit.USAGE
    assert "cannot be read" in done.stderr


# Explaining nodes


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stand in for the nodes: `explain` gets these from inspecting them."""
    module = sys.modules[explain.callback.__module__]  # type: ignore[union-attr]

    class Fleet:
        def __init__(self, names: tuple[str, ...]) -> None:
            self.names = names
            self.settings = {name: Fleet.Settings() for name in names}

        class Settings:
            layers: dict[str, Any] = {}  # noqa: RUF012

    def prepare(*nodes: Node, **layers: Any) -> None:
        Fleet.Settings.layers = layers
        fleet = Fleet(tuple(node.name for node in nodes))
        monkeypatch.setattr(module, "load", lambda *_, **__: fleet)
        monkeypatch.setattr(module, "run", lambda *_: result_of(*nodes))

    return prepare


def test_nodes_are_explained(inspected: Callable[..., None], invoke: Invoke) -> None:
    inspected(a_node("node1"), a_node("node2", gpus=["tesla-v100-pcie"]))
    done = invoke("explain", "site.py")
    assert done.exit_code == Exit.DONE, done.output
    assert "node1: chosen: driver 620.70.06 (open)\n" in done.stdout
    assert "node2: chosen: driver 580.178.04 (proprietary)\n" in done.stdout
    assert "[hardware.modules-drive-the-gpu]" in done.stdout


def test_a_refused_node_is_4(
    inspected: Callable[..., None], tmp_path: Path, invoke: Invoke
) -> None:
    inspected(a_node("node1"), a_node("node2", gpus=["tesla-v100-pcie"]))
    settings = settings_file(tmp_path, 'driver = "595"\n')
    done = invoke("explain", "site.py", "--settings", settings, "--json")
    assert done.exit_code == Exit.REFUSED
    found = json.loads(done.stdout)
    assert found["node1"]["driver"]["version"] == "595.91.07"
    assert found["node2"]["rule"] == "hardware.branch-drives-the-generation"


def test_the_inventory_says_what_is_asked(inspected: Callable[..., None], invoke: Invoke) -> None:
    inspected(a_node("node1"), gpu=Settings(driver="595"))
    done = invoke("explain", "site.py")
    assert "node1: chosen: driver 595.91.07 (open)\n" in done.stdout
    inspected(a_node("node1"), gpu=Settings(driver="595", image=Image(gpus=["10de:1db6"])))
    done = invoke("explain", "site.py")
    assert done.exit_code == Exit.REFUSED
    assert "Tesla V100 PCIe (Volta) is driven up to R580, not by R595" in done.stdout


def test_a_layer_without_the_gpu_layer_asks_too(
    inspected: Callable[..., None], invoke: Invoke
) -> None:
    inspected(a_node("node1", gpus=["mi300x"]), rocm=Rocm(releases=["6.4"]))
    done = invoke("explain", "site.py")
    assert "node1: chosen: ROCm 6.4\n" in done.stdout


def test_a_node_that_does_not_answer_is_3(inspected: Callable[..., None], invoke: Invoke) -> None:
    gone = Node(name="node2", status=NodeStatus.UNREACHABLE, reason="no route")
    inspected(a_node("node1"), gone)
    done = invoke("explain", "site.py")
    assert done.exit_code == Exit.UNREACHABLE
    assert "node1: chosen: " in done.stdout
    assert "node2: unreachable: no route\n" in done.stdout


def test_facts_without_accelerators_are_no_guess(
    inspected: Callable[..., None], invoke: Invoke
) -> None:
    inspected(Node(name="node1", status=NodeStatus.OK, facts={"os_id": "debian"}))
    done = invoke("explain", "site.py")
    assert done.exit_code == Exit.REFUSED
    assert "node1: refused: node1: os_version: Field required" in done.stdout
