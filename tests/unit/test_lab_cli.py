"""`nodeproof lab`: what it prints, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nodeproof.cli.lab import lab
from nodeproof.errors import UsageError
from nodeproof.lab import store
from nodeproof.lab.spec import Spec

NAME_HINT = "Use lower-case letters, digits and hyphens, 63 at most."


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is down, in the lab called lab."""
    monkeypatch.setenv(store.LAB_VARIABLE, str(tmp_path))
    folder = tmp_path / "lab" / "node1"
    folder.mkdir(parents=True)
    Spec("node1", 1, 22001, "debian-13", (), 2, 2048, "/x", "239.192.0.1:30000").save(folder)


def test_status_as_json(tmp_path: Path) -> None:
    shown = json.loads(CliRunner().invoke(lab, ["status", "--json"]).stdout)
    (node,) = shown["machines"]
    assert (node["name"], node["running"], node["ssh_port"]) == ("node1", False, 22001)
    assert node["known_hosts"] == str(tmp_path / "lab" / "node1" / "known_hosts")


def test_status_for_people() -> None:
    shown = CliRunner().invoke(lab, ["status"]).stdout
    assert shown == "node1  down  ssh 127.0.0.1:22001  debian-13, 2 CPUs, 2048 MB\n"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["ssh", "node1"], "node1: is not running", "Run: nodeproof lab up"),
        (["ssh", "node9", "--", "true"], "lab lab: has no machine 'node9'", "Its machines: node1."),
        (["reset", "--name", "b"], "lab b: has no machines", "Run: nodeproof lab up --name b"),
        (["reset", "--tag", "x"], "node1: no snapshot 'x'", "It has: none."),
        (["status", "--name", "../b"], "lab: '../b' cannot be a name", NAME_HINT),
    ],
)
def test_usage_errors(words: list[str], message: str, hint: str) -> None:
    result = CliRunner().invoke(lab, words)
    assert isinstance(result.exception, UsageError)
    assert result.exception.message == message
    assert result.exception.hint == hint


def test_down_of_what_is_down_says_so_on_stderr() -> None:
    result = CliRunner().invoke(lab, ["down"])
    assert (result.stdout, result.stderr) == ("", "lab lab: stopped nothing, none ran\n")


def test_purge_removes_the_lab(tmp_path: Path) -> None:
    CliRunner().invoke(lab, ["down", "--purge"], catch_exceptions=False)
    assert not (tmp_path / "lab").exists()
