"""Users and groups are restored entry by entry; what others changed since stays."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_node import ACCOUNTS, AS_ROOT, Node, copy_of, in_memory, manifest

ITEM = "accounts\t-"


@pytest.fixture
def node() -> Iterator[Node]:
    with in_memory() as node:
        yield node


def added(node: Node, user: str = "bob", uid: int = 901) -> str:
    """Return a command that does what useradd does, with a group and a membership."""
    return "\n".join(
        [
            f"cd {node.etc}",
            "for f in passwd shadow group gshadow; do cp -p $f $f-; done",
            f"echo {user}:x:{uid}:{uid}::/home/{user}:/bin/sh >>passwd",
            f"echo {user}:!:1:::::: >>shadow",
            f"echo {user}:x:{uid}: >>group",
            f"echo {user}:!:: >>gshadow",
            f"echo {user}:165536:65536 >>subuid",
            f"sed -i 's/^sudo:.*/&,{user}/' group gshadow",
        ]
    )


def text(node: Node, name: str) -> str:
    return (node.etc / name).read_text()


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_accounts_come_back_byte_by_byte(shell: str) -> None:
    with in_memory(shell) as node:
        (node.etc / "passwd-").write_text("the tools' own copy\n")
        was = manifest(node.etc)
        node.begin()
        node.made(added(node), ITEM)
        node.made(f"sed -i /^ada:/d {node.etc}/passwd {node.etc}/shadow {node.etc}/group", ITEM)
        node.made(f"sed -i s,/home/bob:/bin/sh,/home/bob:/bin/bash, {node.etc}/passwd", ITEM)
        done = manifest(node.etc)
        assert node.conflicts() == []
        node.reverted()
        assert manifest(node.etc) == was
        node.reverted("R2", "R3")
        assert manifest(node.etc) == done


def test_what_others_changed_since_stays(node: Node) -> None:
    node.begin()
    node.made(added(node), ITEM)
    copy_of(node, "passwd", {"/home/ada:/bin/sh": "/home/ada:/bin/bash"})
    copy_of(node, "passwd", {"daemon:": "carol:x:902:902::/home/carol:/bin/sh\ndaemon:"})
    copy_of(node, "group", {"sudo:x:27:ada,bob": "sudo:x:27:ada,bob,carol"})
    copy_of(node, "gshadow", {"sudo:*::ada,bob": "sudo:*:ada:bob,carol"})
    assert node.conflicts() == []
    node.reverted()
    assert text(node, "passwd") == (
        "root:x:0:0:root:/root:/bin/bash\ncarol:x:902:902::/home/carol:/bin/sh\n"
        "daemon:x:1:1::/:/bin/false\nada:x:900:900::/home/ada:/bin/bash\n"
    )
    assert "sudo:x:27:ada,carol\n" in text(node, "group")
    assert "sudo:*:ada:carol\n" in text(node, "gshadow")
    assert "bob" not in "".join(text(node, name) for name in ACCOUNTS)


def test_a_member_that_was_taken_out_is_put_back_in(node: Node) -> None:
    node.begin()
    node.made(f"sed -i s/27:ada/27:/ {node.etc}/group", ITEM)
    copy_of(node, "group", {"sudo:x:27:": "sudo:x:27:daemon"})
    node.reverted()
    assert "sudo:x:27:daemon,ada\n" in text(node, "group")


@pytest.mark.parametrize(
    ("name", "old", "new", "entry"),
    [
        ("passwd", "/home/bob:/bin/sh", "/home/bob:/bin/zsh", "bob"),
        ("shadow", "bob:!:", "bob:$6$x:", "bob"),
        ("group", "bob:x:901:", "bob:x:901:carol", "bob"),
    ],
)
def test_an_entry_that_both_changed_is_a_conflict_and_stays(
    node: Node, name: str, old: str, new: str, entry: str
) -> None:
    node.begin()
    node.made(added(node), ITEM)
    copy_of(node, name, {old: new})
    assert node.conflicts() == [("accounts", f"/etc/{name}: the entry {entry} was changed since")]
    done = node.revert()
    assert done.returncode == 1
    assert new in text(node, name)


def test_steps_of_one_run_are_no_conflicts_of_each_other(node: Node) -> None:
    node.begin()
    node.made(added(node), ITEM)
    node.made(f"sed -i s,home/bob:/bin/sh,home/bob:/bin/zsh, {node.etc}/passwd", ITEM)
    node.made(f"sed -i /^bob:/d {node.etc}/group", ITEM)
    assert node.conflicts() == []


@AS_ROOT
def test_who_is_at_work_is_named(node: Node) -> None:
    copy_of(node, "passwd", {"daemon:x:1:1::/:/bin/false\n": ""})
    node.begin()
    node.made(f"echo daemon:x:1:1::/:/bin/false >>{node.etc}/passwd", ITEM)
    assert node.conflicts() == []
    with subprocess.Popen(["sleep", "30"], user="daemon") as running:
        assert node.conflicts() == [("accounts", "daemon has running processes")]
        running.kill()


def test_a_similar_name_is_another_one(node: Node) -> None:
    node.begin()
    node.made(added(node, "a.c"), ITEM)
    copy_of(node, "passwd", {"daemon:": "abc:x:903:903::/:/bin/sh\ndaemon:"})
    assert node.conflicts() == []
    node.reverted()
    assert "abc:" in text(node, "passwd")


@pytest.mark.parametrize("name", ["passwd", "group", "subuid"])
def test_the_lock_of_another_tool_is_honoured(node: Node, name: str) -> None:
    node.begin()
    node.made(added(node), ITEM)
    node.good("end", "R1", "ok")
    lock = node.etc / f"{name}.lock"
    with subprocess.Popen(["sleep", "60"]) as tool:
        lock.write_text(f"{tool.pid}\n")
        node.begin("R2")
        running = node.start("revert", "R1", "R2", "", "", "0")
        time.sleep(1.5)
        assert running.poll() is None
        assert "bob" in text(node, "passwd")
        assert [path.name for path in node.etc.glob("*.lock")] == [lock.name]
        tool.kill()
    lock.unlink()
    out, err = running.communicate()
    assert running.returncode == 0, (out, err)
    assert "bob" not in text(node, "passwd")
    assert not list(node.etc.glob("*lock*"))


def test_the_lock_of_a_tool_that_died_is_broken(node: Node) -> None:
    node.begin()
    node.made(added(node), ITEM)
    (node.etc / "passwd.lock").write_text("999999999")
    (node.etc / "shadow.lock").write_text("")
    node.reverted()
    assert not list(node.etc.glob("*lock*"))


def test_the_lock_is_one_that_the_tools_understand(node: Node) -> None:
    """While we work: a hard link of a file that holds a living pid."""
    node.begin()
    node.made(added(node), ITEM)
    spy = node.folder / "stubs/awk"
    spy.write_text(
        f"#!/bin/sh\ncat {node.etc}/group.lock >{node.folder}/pid\nkill -0 $(cat "
        f'{node.etc}/group.lock) && touch {node.folder}/alive\nexec mawk "$@"\n'
    )
    spy.chmod(0o755)
    copy_of(node, "passwd", {"/home/ada:/bin/sh": "/home/ada:/bin/bash"})
    node.reverted()
    assert (node.folder / "alive").exists()


@pytest.mark.parametrize("tool", ["awk", "sync"])
def test_no_half_file_and_no_lock_where_it_fails(node: Node, tool: str) -> None:
    node.begin()
    node.made(added(node), ITEM)
    node.good("end", "R1", "ok")
    copy_of(node, "passwd", {"/home/ada:/bin/sh": "/home/ada:/bin/bash"})
    was = manifest(node.etc)
    node.begin("R2")
    broken = node.folder / "stubs" / tool
    broken.write_text(
        "#!/bin/sh\n"
        f"case $* in *{node.etc}*) {{ [ {tool} = sync ] || echo half; }}; exit 2;; esac\n"
        f'exec {"/usr/bin/mawk" if tool == "awk" else "/bin/sync"} "$@"\n'
    )
    broken.chmod(0o755)
    done = node.call("revert", "R1", "R2", "", "", "0")
    assert done.returncode == 1
    left = manifest(node.etc)
    assert left[f"{node.etc}/passwd"] == was[f"{node.etc}/passwd"]
    names = {Path(path).name for path in left if "/systemd" not in path}
    assert names <= {*ACCOUNTS, *(f"{name}-" for name in ACCOUNTS)}
    broken.unlink()
    node.good("end", "R2", "failed")
    node.reverted(by="R3")
    assert "bob" not in text(node, "passwd")
    assert "/home/ada:/bin/bash" in text(node, "passwd")


def test_a_cut_off_change_of_accounts_is_taken_back(node: Node) -> None:
    was = manifest(node.etc)
    node.begin()
    done = node.start(
        "step",
        "R1",
        "0",
        "l",
        "n",
        ITEM,
        "--",
        added(node) + f"\ntouch {node.folder}/now; sleep 30",
    )
    while not (node.folder / "now").exists():
        time.sleep(0.05)
    os.killpg(done.pid, 9)
    done.communicate()
    node.dead()
    node.begin("R2")
    node.good("end", "R2", "ok")
    copy_of(node, "passwd", {"daemon:": "carol:x:902:902::/home/carol:/bin/sh\ndaemon:"})
    assert node.conflicts() == []
    node.reverted("R1", "R3")
    assert "carol" in text(node, "passwd")
    copy_of(node, "passwd", {"carol:x:902:902::/home/carol:/bin/sh\n": ""})
    assert manifest(node.etc) == was


def test_files_that_a_change_made_are_taken_away(node: Node) -> None:
    (node.etc / "subuid").unlink()
    (node.etc / "gshadow").unlink()
    was = manifest(node.etc)
    node.begin()
    node.made(f"echo x:1:1 >{node.etc}/subuid; echo 'x:!::' >{node.etc}/gshadow", ITEM)
    node.reverted()
    assert manifest(node.etc) == was


def test_the_backups_of_the_tools_hold_no_secret_that_was_taken_back(node: Node) -> None:
    node.begin()
    node.made(added(node), ITEM)
    node.made(added(node, "eve", 902), ITEM)
    node.reverted()
    left = "".join(path.read_text() for path in node.etc.iterdir() if path.is_file())
    assert "bob" not in left
    assert "eve" not in left
