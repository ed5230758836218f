"""What a user of the node could do to a program that runs as root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_node import AS_ROOT, Node, acl, entry, in_memory, manifest

pytestmark = AS_ROOT
USER = pwd.getpwnam("nobody")


@pytest.fixture
def node() -> Iterator[Node]:
    with in_memory() as node:
        # Users reach their homes, and nothing of ours.
        node.folder.chmod(0o755)
        node.files.chmod(0o755)
        yield node


@pytest.fixture
def home(node: Node) -> Path:
    home = node.files / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/authorized_keys").write_text("old key\n")
    (home / ".ssh").chmod(0o700)
    (home / ".ssh/authorized_keys").chmod(0o600)
    own(home)
    return home


@pytest.fixture
def roots(node: Node) -> Path:
    """What belongs to root and must not be touched."""
    roots = node.files / "root"
    roots.mkdir(mode=0o700)
    (roots / "authorized_keys").write_text("root's key\n")
    (roots / "authorized_keys").chmod(0o600)
    return roots


def own(top: Path) -> None:
    os.chown(top, USER.pw_uid, USER.pw_gid, follow_symlinks=False)
    for folder, names, files in os.walk(top):
        for name in [*names, *files]:
            os.chown(Path(folder, name), USER.pw_uid, USER.pw_gid, follow_symlinks=False)


def keys(home: Path) -> str:
    """Return a command that writes keys as the user, as operations do."""
    return (
        f"setpriv --reuid {USER.pw_uid} --regid {USER.pw_gid} --clear-groups sh -c "
        f"'umask 077; mkdir -p {home}/.ssh; echo new key >{home}/.ssh/authorized_keys'"
    )


def test_keys_come_back_as_the_users_own(node: Node, home: Path) -> None:
    path = home / ".ssh/authorized_keys"
    acl(path)
    os.setxattr(path, "user.colour", b"blue")
    was = manifest(node.files)
    node.begin()
    node.made(keys(home), home / ".ssh", path)
    done = manifest(node.files)
    assert done != was
    node.reverted()
    assert manifest(node.files) == was
    node.reverted("R2", "R3")
    assert manifest(node.files) == done


def test_keys_and_folder_that_were_not_there_go_again(node: Node, home: Path) -> None:
    shutil.rmtree(home / ".ssh")
    was = manifest(node.files)
    node.begin()
    node.made(keys(home), home / ".ssh", home / ".ssh/authorized_keys")
    node.reverted()
    assert manifest(node.files) == was
    node.reverted("R2", "R3")
    assert (home / ".ssh/authorized_keys").read_text() == "new key\n"
    assert entry(home / ".ssh")[:3] == ("0o40700", USER.pw_uid, USER.pw_gid)


def test_what_the_user_put_into_a_folder_stays(node: Node, home: Path) -> None:
    shutil.rmtree(home / ".ssh")
    node.begin()
    node.made(keys(home), home / ".ssh", home / ".ssh/authorized_keys")
    (home / ".ssh/known_hosts").write_text("mine")
    own(home)
    done = node.revert()
    assert done.returncode == 1
    assert f"differs\tfile {home}/.ssh" in done.stdout.decode()
    assert [path.name for path in (home / ".ssh").iterdir()] == ["known_hosts"]
    node.reverted(by="R3")


@pytest.mark.parametrize("before", ["there", "absent", "link", "folder only"])
def test_a_folder_replaced_by_a_link_to_roots(
    node: Node, home: Path, roots: Path, before: str
) -> None:
    if before in ("absent", "folder only"):
        shutil.rmtree(home / ".ssh")
    if before == "folder only":
        (home / ".ssh").mkdir(mode=0o700)
    if before == "link":
        (home / ".ssh/authorized_keys").unlink()
        (home / ".ssh/authorized_keys").symlink_to("elsewhere")
    own(home)
    node.begin()
    node.made(keys(home), home / ".ssh", home / ".ssh/authorized_keys")
    shutil.rmtree(home / ".ssh")
    (home / ".ssh").symlink_to(roots)
    own(home)
    was = manifest(roots)
    node.revert()
    assert manifest(roots) == was


@pytest.mark.parametrize("leftover", [False, True])
def test_a_file_replaced_by_a_link_to_a_secret(
    node: Node, home: Path, roots: Path, leftover: bool
) -> None:
    path = home / ".ssh/authorized_keys"
    node.begin()
    node.made(keys(home), path)
    path.unlink()
    path.symlink_to(roots / "authorized_keys")
    if leftover:  # where new content waits, as anybody can know
        (home / ".ssh/.authorized_keys.nodeproof").symlink_to(roots / "authorized_keys")
    own(home)
    was = manifest(roots)
    node.reverted()
    assert manifest(roots) == was
    assert path.read_text() == "old key\n"
    assert stat.S_ISREG(path.lstat().st_mode)


def test_a_secret_linked_to_before_does_not_become_the_users(
    node: Node, home: Path, roots: Path
) -> None:
    """The state is read as root; it must not be given back to who could not read it."""
    shutil.rmtree(home / ".ssh")
    (home / ".ssh").symlink_to(roots)
    own(home)
    node.begin()
    done = node.step(f"touch {node.files}/made", home / ".ssh/authorized_keys")
    assert done.returncode == 1
    assert b"who cannot read it" in done.stderr
    assert not (node.files / "made").exists()


def test_a_folder_that_root_links_to_is_the_users_as_well(
    node: Node, home: Path, roots: Path
) -> None:
    """/srv/keys -> /home/u/keys: the user decides what is in there."""
    link = node.files / "srv"
    link.symlink_to(home / ".ssh")
    path = link / "authorized_keys"
    node.begin()
    node.made(f"echo new >{path}", path)
    (home / ".ssh/.authorized_keys.nodeproof").symlink_to(roots / "authorized_keys")
    own(home)
    was = manifest(roots)
    node.reverted()
    assert manifest(roots) == was
    assert path.read_text() == "old key\n"


def test_a_user_without_a_name(node: Node, home: Path) -> None:
    path = home / ".ssh/authorized_keys"
    for one in (home, home / ".ssh", path):
        os.chown(one, 54321, 54321)
    was = manifest(node.files)
    node.begin()
    node.made(f"echo new >{path}", path)
    node.reverted()
    assert manifest(node.files) == was


def test_a_tree_in_a_users_folder_is_left_to_them(node: Node, home: Path) -> None:
    tree = home / "work"
    node.begin()
    node.made(f"mkdir {tree}; touch {tree}/x", f"tree\t{tree}")
    done = node.revert()
    assert done.returncode == 1
    assert f"differs\ttree {tree}" in done.stdout.decode()
    assert (tree / "x").exists()


def test_leftovers_are_removed_as_the_user(node: Node, home: Path, roots: Path) -> None:
    """A step was cut off; the user then made the folder a link to root's."""
    node.begin()
    node.made(keys(home), home / ".ssh/authorized_keys")
    (node.runs / "R1/0001/code").unlink()
    shutil.rmtree(home / ".ssh")
    (home / ".ssh").symlink_to(roots)
    (roots / ".authorized_keys.nodeproof").write_text("root's")
    own(home)
    was = manifest(roots)
    node.dead()
    node.begin("R2")
    assert manifest(roots) == was


def test_a_users_socket_stays(node: Node, home: Path) -> None:
    path = home / "pipe"
    os.mkfifo(path, 0o600)
    own(home)
    node.begin()
    node.made(f"chmod 666 {path}", path)
    node.reverted()
    assert oct(path.lstat().st_mode) == "0o10600"


def test_nobody_else_sees_the_journal(node: Node) -> None:
    """Its folder is root's alone, whatever it was, and what is in it too."""
    shutil.rmtree(node.folder / "run")
    (node.folder / "lib").chmod(0o777)
    old = os.umask(0)
    try:
        node.begin()
        node.made("umask 0; echo >" + str(node.files / "it"), node.files / "it")
    finally:
        os.umask(old)
    for top in (node.folder / "lib", node.folder / "run", node.runs):
        assert oct(top.stat().st_mode) == "0o40700"
    for path, what in manifest(node.runs).items():
        assert str(what[0]).endswith("00"), path


def test_the_run_folder_is_no_link_to_elsewhere(node: Node) -> None:
    """A run's name is looked for in the folder of runs only."""
    with tempfile.TemporaryDirectory() as elsewhere:
        node.begin()
        (node.runs / "R9").symlink_to(elsewhere)
        (Path(elsewhere) / "0001").mkdir()
        (Path(elsewhere) / "0001/items").write_text(f"file\t{node.files}/it\n")
        (Path(elsewhere) / "0001/change").write_text("l\nn\n0\n")
        (node.files / "it").write_text("precious")
        assert node.call("revert", "R9", "R1", "", "", "0").returncode == 1
        assert (node.files / "it").read_text() == "precious"
