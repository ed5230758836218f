"""A saved plan comes back as it was, is read by its owner only, and nothing else passes for one."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import samples

from nodeproof.engine import planfile
from nodeproof.engine.fingerprint import ChangePrint, FactPrint, Fingerprint
from nodeproof.engine.result import Command, NodeStatus, Result
from nodeproof.errors import UsageError
from nodeproof.layers import LAYER_NAMES

RESTS_ON = Fingerprint(
    settings={"ssh": {"max_sessions": "a" * 64}},
    facts={"Unit ssh.service": FactPrint(called="unit ssh.service", digest="b" * 64, there=True)},
    changes=(ChangePrint(layer="ssh", name="Reload", needed=True, digest="c" * 64),),
)


def planned() -> Result:
    return samples.planned()


def save(path: Path, result: Result, layers: tuple[str, ...] = ()) -> planfile.SavedPlan:
    rests_on = {node.name: RESTS_ON for node in result.nodes}
    return planfile.save(path, result, layers, rests_on)


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "site.plan.json"
    saved = save(path, planned(), LAYER_NAMES)
    assert planfile.load(str(path)) == saved
    assert saved.plan == planned()
    assert saved.layers == LAYER_NAMES
    assert saved.nodes["gpu-1"] == RESTS_ON


def test_only_nodes_with_a_plan_are_in_it(tmp_path: Path) -> None:
    result = samples.result(
        Command.PLAN,
        samples.node("a", NodeStatus.PENDING),
        samples.node("b", NodeStatus.OK),
        samples.unreachable("c"),
        samples.refused("d"),
    )
    assert save(tmp_path / "x.json", result).nodes.keys() == {"a", "b"}


def test_names_the_inventory_so_that_it_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.py").touch()
    result = planned().model_copy(update={"inventory": "site.py"})
    assert save(tmp_path / "x", result).inventory == str(tmp_path / "site.py")
    result = planned().model_copy(update={"inventory": "node1,node2"})
    assert save(tmp_path / "x", result).inventory == "node1,node2"


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_only_its_owner_reads_it(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "plan"
    if before is not None:
        path.write_text("a much longer text than what is written over it" * 1000)
        path.chmod(before)
    save(path, planned())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert planfile.load(str(path)).plan == planned()


@pytest.mark.parametrize("where", ["missing/plan.json", "."])
def test_where_it_cannot_be_written(tmp_path: Path, where: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        save(tmp_path / where, planned())


@pytest.mark.parametrize(
    ("name", "content", "plan"),
    [
        ("site.plan.json", "{}", True),
        ("site.plan", '{"schema": 1}', True),
        ("site.py", "{}", False),
        ("hosts", "node1\nnode2\n", False),
        ("empty", "", False),
        ("list.json", "[]", False),
    ],
)
def test_what_passes_for_a_plan(tmp_path: Path, name: str, content: str, plan: bool) -> None:
    (tmp_path / name).write_text(content)
    assert planfile.is_plan(str(tmp_path / name)) is plan


@pytest.mark.parametrize("name", ["missing.json", "node1,node2", "@local", ".", "/dev/null"])
def test_what_is_no_file_is_no_plan(name: str) -> None:
    assert not planfile.is_plan(name)


def changed(**values: object) -> str:
    path = Path(os.devnull)
    saved = planfile.SavedPlan(
        inventory=str(path), layers=LAYER_NAMES, nodes={"a": RESTS_ON}, plan=planned()
    )
    return json.dumps({**json.loads(saved.model_dump_json(by_alias=True)), **values})


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        "{\x00}",
        changed(schema="nodeproof/plan/1"),
        changed(schema="nodeproof/plan/3"),
        changed(schema=2),
        changed(schema="nodeproof/result/1"),
        changed(nodes=["a"]),
        changed(nodes={"a": "1"}),
        changed(hashes={"a": "1"}),
        "[]",
        changed(plan={}),
        changed(layers="ssh"),
        changed(inventory=None),
        changed(more=1),
        planned().model_dump_json(by_alias=True),
    ],
)
def test_what_is_not_a_plan_of_this_version_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"x\.json: not a plan of this version: ") as caught:
        planfile.load(str(path))
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_plan_that_was_not_changed_is_read(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    (tmp_path / "x.json").write_text(changed())
    assert planfile.load(str(tmp_path / "x.json")).nodes == {"a": RESTS_ON}


def test_an_older_plan_says_so(tmp_path: Path) -> None:
    older = {"schema": "nodeproof/plan/1", "inventory": "x", "layers": [], "hashes": {"a": "1"}}
    (tmp_path / "x.json").write_text(json.dumps(older))
    with pytest.raises(UsageError) as caught:
        planfile.load(str(tmp_path / "x.json"))
    assert caught.value.message.endswith(
        "x.json: not a plan of this version: it is nodeproof/plan/1, and nodeproof/plan/2 is wanted"
    )
    assert "make it again" in (caught.value.hint or "")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"{\xff\xfe}")
    with pytest.raises(UsageError, match="not a plan"):
        planfile.load(str(tmp_path / "x.json"))
