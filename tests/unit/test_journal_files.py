"""What a change does to files, links and directories is taken back exactly."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_node import AS_ROOT, THOROUGH, Node, acl, entry, in_memory, manifest


@pytest.fixture
def node() -> Iterator[Node]:
    with in_memory() as node:
        yield node


@pytest.fixture(params=["dash", "bash"])
def any_shell(request: pytest.FixtureRequest) -> Iterator[Node]:
    with in_memory(request.param) as node:
        yield node


def word(path: Path) -> str:
    return shlex.quote(str(path))


# What is at a path before, and commands that change it; {} is the path.
BEFORE = {
    "nothing": ":",
    "empty file": ": >{0}",
    "file": "printf 'old\\n' >{0} && chmod 640 {0}",
    "no last newline, NUL": "printf 'a\\0b' >{0} && chmod 4755 {0}",
    "link": "ln -s 'some where' {0}",
    "dangling link": "ln -s /nowhere/at/all {0}",
    "link to a folder": "mkdir {0}.d && : >{0}.d/precious && ln -s {0}.d {0}",
    "folder": "mkdir -m 2750 {0}",
    "pipe": "mkfifo -m 600 {0}",
}
CHANGES = {
    "written": "rm -rf {0}; printf new >{0}; chmod 600 {0}",
    "replaced": "rm -rf {0}; printf new >{0}.new; mv -f {0}.new {0}",
    "linked": "rm -rf {0}; ln -s elsewhere {0}",
    "a folder": "rm -rf {0}; mkdir -m 700 {0}",
    "gone": "rm -rf {0}",
    "nothing done": ":",
}


def test_paths_become_what_they_were(any_shell: Node) -> None:
    node = any_shell
    cases = [(b, c) for b in BEFORE for c in CHANGES if b != "pipe" or c == "nothing done"]
    if node.shell == "bash" and not THOROUGH:
        cases = cases[::3]
    paths = [node.files / f"{before}, {change}" for before, change in cases]
    for path, (before, _) in zip(paths, cases, strict=True):
        subprocess.run(BEFORE[before].format(word(path)), shell=True, check=True)  # noqa: S602
    was = manifest(node.files)
    node.begin()
    node.made(
        "\n".join(
            CHANGES[change].format(word(path))
            for path, (_, change) in zip(paths, cases, strict=True)
        ),
        *paths,
    )
    done = manifest(node.files)
    assert done != was
    assert node.conflicts() == []
    node.reverted()
    assert manifest(node.files) == was
    assert node.result() == "reverted"
    node.reverted("R2", "R3")
    assert manifest(node.files) == done


NAMES = [
    "with space",
    "quote'\"quote",
    "-dash",
    "--",
    "$(touch pwned)`touch pwned`;&|",
    "*",
    "[a-z]?",
    "back\\slash\\n\\t\\0",
    "úñí→",
    " lead",
    "trail ",
    ".hidden",
    "a" * 255,
    "%s%n",
    "tab\tin it",
    "#",
    "~",
]


def test_any_name_is_a_name(any_shell: Node) -> None:
    node = any_shell
    paths = [node.files / name for name in NAMES]
    items = [f"file\t{path}" for path in paths]
    for path in paths:
        path.write_text("old")
    (node.files / "other").write_text("other")
    was = manifest(node.files)
    node.begin()
    node.made("\n".join(f"printf new >{word(path)}" for path in paths), *items)
    done = manifest(node.files)
    assert {path.read_text() for path in paths} == {"new"}
    assert node.conflicts() == []
    for path in paths:
        path.write_text("mine")
    told = {row[0].removeprefix("file ") for row in node.conflicts()}
    assert told == {str(path).partition("\t")[0] for path in paths}
    for path in paths:
        path.write_text("new")
    node.reverted()
    assert manifest(node.files) == was
    node.reverted("R2", "R3")
    assert manifest(node.files) == done


def test_a_name_that_is_no_text(node: Node) -> None:
    path = os.fsencode(node.files) + b"/\xff\xfe"
    Path(os.fsdecode(path)).write_bytes(b"old")
    node.begin()
    node.made(f"printf new >{word(node.files)}/*", os.fsdecode(path))
    node.reverted()
    assert Path(os.fsdecode(path)).read_bytes() == b"old"


@AS_ROOT
def test_owner_acl_attributes_and_times_come_back(node: Node) -> None:
    path = node.files / "it"
    path.write_text("old")
    os.chown(path, 1234, 4321)
    acl(path)
    os.setxattr(path, "user.colour", b"blue\0green")
    os.utime(path, ns=(10**18, 10**18 + 123))
    folder = node.files / "folder"
    folder.mkdir()
    os.chown(folder, 1234, 4321)
    acl(folder, rights=5)
    was, when = manifest(node.files), path.stat().st_mtime_ns
    node.begin()
    node.made(f"cd {word(node.files)}; rm -r it folder; echo >it; mkdir folder", path, folder)
    node.reverted()
    assert manifest(node.files) == was
    assert path.stat().st_mtime_ns == when


@AS_ROOT
@pytest.mark.parametrize("attribute", ["owner", "mode", "acl", "xattr"])
def test_a_change_of_an_attribute_alone_is_seen_and_taken_back(attribute: str) -> None:
    with in_memory() as node:
        path = node.files / "it"
        path.write_text("old")
        was = entry(path)
        node.begin()
        node.made(":", path)

        def change() -> None:
            if attribute == "owner":
                os.chown(path, 1234, -1)
            elif attribute == "mode":
                path.chmod(0o600)
            elif attribute == "acl":
                acl(path)
            else:
                os.setxattr(path, "user.colour", b"red")

        change()
        assert len(node.conflicts()) == 1
        node.reverted()
        assert entry(path) == was


def test_a_file_in_a_folder_that_the_same_step_made(node: Node) -> None:
    folder = node.files / "new/er"
    node.begin()
    node.made(f"mkdir -p {folder} && echo x >{folder}/it", folder.parent, folder, folder / "it")
    node.reverted()
    assert manifest(node.files) == {}
    node.reverted("R2", "R3")
    assert (folder / "it").read_text() == "x\n"


def test_a_folder_is_never_deleted_with_what_others_put_there(node: Node) -> None:
    folder = node.files / "new"
    node.begin()
    node.made(f"mkdir {folder}", folder)
    (folder / "deep").mkdir()
    (folder / "deep/mine").write_text("precious")
    rows = node.reverted()
    assert not folder.exists()
    (kept,) = [row[2] for row in rows if row[0] == "kept"]
    assert Path(kept, "deep/mine").read_text() == "precious"
    assert kept == f"{node.runs}/R2/kept{folder}"
    node.reverted("R2", "R3")
    assert (folder / "deep/mine").read_text() == "precious"


def test_a_tree_is_set_aside_and_comes_back(node: Node) -> None:
    home = node.files / "home"
    node.begin()
    node.made(f"mkdir {home} && echo hi >{home}/profile", f"tree\t{home}")
    node.reverted()
    assert not home.exists()
    assert (node.runs / f"R2/kept{home}/profile").read_text() == "hi\n"
    node.reverted("R2", "R3")
    assert (home / "profile").read_text() == "hi\n"


def test_what_was_set_aside_before_is_not_overwritten(node: Node) -> None:
    folder = node.files / "new"
    node.begin()
    node.made(f"mkdir {folder}; echo 2 >{folder}/file", folder)
    node.good("end", "R1", "ok")
    taken = node.runs / f"R2/kept{folder}"
    node.begin("R2")
    taken.mkdir(parents=True)
    (taken / "file").write_text("1")
    node.good("revert", "R1", "R2", "", "", "0")
    assert (taken / "file").read_text() == "1"
    assert Path(f"{taken}.1/file").read_text() == "2\n"


@pytest.mark.parametrize("edit", ["content", "link", "mode"])
def test_a_file_that_others_changed_is_named_and_kept(node: Node, edit: str) -> None:
    path, other = node.files / "it", node.files / "other"
    path.write_text("old")
    node.begin()
    node.made(f"echo new >{path}; echo x >{other}", path, other)
    if edit == "link":
        path.unlink()
        path.symlink_to("mine")
    elif edit == "mode":
        path.chmod(0o600)
    else:
        path.write_text("mine")
    mine = entry(path)
    assert node.conflicts() == [(f"file {path}", "changed since, not by nodeproof")]
    rows = node.reverted()
    assert path.read_text() == "old"
    assert [Path(row[2]) for row in rows if row[0] == "kept"] == [node.runs / f"R2/kept{path}"]
    assert entry(node.runs / f"R2/kept{path}") == mine


def test_a_file_where_a_folder_was(node: Node) -> None:
    path = node.files / "it"
    path.write_text("old")
    node.begin()
    node.made(f"rm {path}; mkdir {path}", path)
    (path / "mine").write_text("precious")
    done = node.revert()
    assert done.returncode == 1
    assert f"failed\tfile {path}" in done.stdout.decode()
    assert (path / "mine").read_text() == "precious"
    (path / "mine").unlink()
    node.reverted(by="R3")
    assert path.read_text() == "old"
    assert node.result() == "reverted"


def test_a_socket_in_place_keeps_being_one(node: Node) -> None:
    path = node.files / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o666)
        node.begin()
        node.made(f"chmod 600 {path}", path)
        node.reverted()
        assert oct(path.stat().st_mode) == "0o140666"


def test_several_steps_on_one_file(node: Node) -> None:
    path = node.files / "it"
    node.begin()
    for text in ("1", "2", "3"):
        node.made(f"echo {text} >{path}", path)
    assert node.conflicts() == []
    node.reverted()
    assert not path.exists()


def test_runs_are_taken_back_newest_first_or_the_later_is_named(node: Node) -> None:
    path = node.files / "it"
    for run in ("R1", "R2"):
        node.begin(run)
        node.made(f"echo {run} >{path}", path, run=run)
        node.good("end", run, "ok")
    assert node.conflicts("R1") == [
        (f"file {path}", "changed by run R2 since; take that back first")
    ]
    node.reverted("R2", "R3")
    assert node.conflicts("R1") == []
    node.reverted("R1", "R4")
    assert not path.exists()


def test_what_was_chosen_before_is_not_looked_at_again(node: Node) -> None:
    one, two = node.files / "one", node.files / "two"
    node.begin()
    node.call("step", "R1", "0", "ssh", "One", f"file\t{one}", "--", f"echo >{one}")
    node.call("step", "R1", "0", "system", "Two", f"file\t{two}", "--", f"echo >{two}")
    node.good("end", "R1", "ok")
    assert node.revert(layer="ssh").returncode == 0
    assert not one.exists()
    assert two.exists()
    assert node.result() == "ok, partly reverted"
    one.write_text("made by others since")
    node.reverted(by="R3")
    assert not two.exists()
    assert one.read_text() == "made by others since"
    assert node.result() == "reverted"


def test_names_choose_steps(node: Node) -> None:
    one, two = node.files / "one", node.files / "two"
    node.begin()
    node.call("step", "R1", "0", "ssh", "Write a [b]", f"file\t{one}", "--", f"echo >{one}")
    node.call("step", "R1", "0", "ssh", "Other", f"file\t{two}", "--", f"echo >{two}")
    assert node.revert(names="Nothing\nWrite*").returncode == 0
    assert not one.exists()
    assert two.exists()


@pytest.mark.parametrize("path", ["relative", "/with/slash/", "/", ""])
def test_a_path_that_is_none_is_refused(node: Node, path: str) -> None:
    node.begin()
    done = node.step(f"touch {node.files}/made", f"file\t{path}")
    assert done.returncode == 1
    assert b"nothing was changed" in done.stderr
    assert manifest(node.files) == {}
