"""Results are kept where only their owner reads them, and what cannot be read is said clearly."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import samples

from nodeproof.engine.result import Command, Result
from nodeproof.errors import Exit, NodeproofError, UsageError
from nodeproof.evidence import store


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NODEPROOF_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def made(command: Command, run: str) -> Result:
    return samples.result(command).model_copy(update={"run": run})


@pytest.mark.parametrize("name", sorted(samples.everything()))
def test_a_result_comes_back_equal(name: str) -> None:
    result = samples.everything()[name].model_copy(update={"run": "20261003T091500Z-4f2a9c"})

    path = store.save(result)

    assert store.load(path) == store.load(result.run) == store.load() == result


def test_only_the_owner_reads_it(state: Path) -> None:
    (state / "results").mkdir(parents=True, mode=0o755)

    path = store.save(samples.proven())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_result(monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.save(samples.proven())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    changed = samples.proven().model_copy(update={"version": "9"})
    with pytest.raises(NodeproofError, match="could not be kept: No space left on device"):
        store.save(changed)

    assert store.load(path).version == "0.1.0"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("run", ["../escape", "", "a/b", "-x", samples.HOSTILE])
def test_a_run_that_is_no_file_name_is_not_written(run: str, state: Path) -> None:
    with pytest.raises(ValueError, match="not the id of a run"):
        store.save(made(Command.PLAN, run))
    assert not state.exists()


def test_the_latest_is_the_latest_of_its_command() -> None:
    for command, run in [(Command.PLAN, "20260101T"), (Command.VERIFY, "20260102T")]:
        store.save(made(command, run))

    assert store.load().run == "20260102T"
    assert store.load("latest", Command.PLAN).run == "20260101T"
    with pytest.raises(UsageError, match="none of `apply`") as caught:
        store.load("latest", Command.APPLY)
    assert caught.value.hint == "run `nodeproof apply INVENTORY` first"


def test_no_results_yet() -> None:
    with pytest.raises(UsageError, match=r"results: none in .*/state/results yet") as caught:
        store.load()
    assert caught.value.exit_code == Exit.USAGE
    assert caught.value.hint == "run `nodeproof verify INVENTORY` first"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("20260101T000000Z-aaaaab", "did you mean 20260101T000000Z-aaaaaa?"),
        ("x", "the latest of 1 is 20260101T000000Z-aaaaaa"),
    ],
)
def test_an_unknown_run_names_the_nearest(asked: str, hint: str) -> None:
    store.save(made(Command.PLAN, "20260101T000000Z-aaaaaa"))
    with pytest.raises(UsageError, match=f"{asked}: unknown run") as caught:
        store.load(asked)
    assert caught.value.hint == hint


def test_a_missing_file() -> None:
    with pytest.raises(UsageError, match=r"no/such\.json: No such file or directory"):
        store.load("no/such.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as JSON: EOF while parsing an object at line 1 column 1"),
        ("[" * 100_000, "not readable as JSON: recursion limit exceeded"),
        ("[]", "not a nodeproof result"),
        ('{"schema": ["x"]}', "has the schema"),
        (
            '{"schema": "nodeproof/result/2", "version": "3.0"}',
            "has the schema 'nodeproof/result/2'",
        ),
        (
            '{"schema": "nodeproof/result/1"}',
            "not a nodeproof/result/1 result: command: Field requ",
        ),
    ],
)
def test_a_file_that_is_no_result(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"found.json: .*{message}") as caught:
        store.load(path)
    if "result/2" in text:
        assert caught.value.hint == "read it with the nodeproof that made it (3.0)"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_bytes(b'{"schema": "\xff"}')
    with pytest.raises(UsageError, match="not readable as JSON"):
        store.load(path)


def test_the_file_is_plain_json() -> None:
    document = json.loads(store.save(samples.planned()).read_text())
    assert document["schema"] == "nodeproof/result/1"
    assert document["nodes"][0]["changes"][-1]["status"] == "planned"


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODEPROOF_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert store.results_dir() == Path("/somewhere/nodeproof/results")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert store.results_dir() == Path("/home/somebody/.local/state/nodeproof/results")
