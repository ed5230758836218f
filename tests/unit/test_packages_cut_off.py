"""What apt or dnf was cut off from is finished as it was meant, on a machine of stand-ins."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest

from nodeproof.operations.journal import program
from nodeproof.operations.packages import locked_out
from nodeproof.scripts import text


def node_text(part: str) -> str:
    return (files("nodeproof") / "node" / f"{part}.sh").read_text(encoding="utf-8")


SAYS = """#!/bin/sh
printf '%s %s\\n' "${{0##*/}}" "$*" >>{folder}/calls
case "${{0##*/}} $*" in
{answers}
esac
"""
APT = {
    "dpkg-query -W*": r"printf 'ii |libc6=\niUR|libcuda1=\niHR|others=\nhi |nvidia-open=\n'",
    "dpkg --configure*": "exit 1",
}
WORDS = ["--allow-change-held-packages", "--", "nvidia-open=580-1", "libcuda1=580-1"]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "calls").touch()
    return tmp_path


def stand_in(folder: Path, programs: str, answers: Mapping[str, str]) -> None:
    lines = "".join(
        f"{words.replace(' ', chr(92) + ' ')}) {do} ;;\n" for words, do in answers.items()
    )
    for name in programs.split():
        path = folder / "bin" / name
        path.write_text(SAYS.format(folder=folder, answers=lines))
        path.chmod(0o755)


def calls(folder: Path, argv: list[str], code: int = 0) -> list[str]:
    path = f"{folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = os.environ | {"PATH": path, "NODEPROOF_HOME": str(folder)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return (folder / "calls").read_text().splitlines()


def mended(folder: Path, code: int = 0) -> list[str]:
    script = text("apt-mend.sh").replace("/var/lib/nodeproof", str(folder))
    return calls(folder, ["dash", "-c", script, "sh", "300"], code)


def test_apt_finishes_what_it_was_told(bare: Path) -> None:
    """Half unpacked packages of its go first, others' stay; the names come in their versions."""
    stand_in(bare, "apt-get dpkg dpkg-query", APT)
    (bare / "apt-unfinished").write_text("".join(f"{word}\n" for word in WORDS))
    said = mended(bare)
    assert "dpkg --remove --force-depends --force-remove-reinstreq -- libcuda1" in said
    assert said[-1].startswith("apt-get -y")
    assert said[-1].endswith(f"-f install {' '.join(WORDS)}")
    assert not (bare / "apt-unfinished").exists()


def test_apt_is_told_again_until_it_is_done(bare: Path) -> None:
    stand_in(bare, "apt-get dpkg dpkg-query", APT | {"apt-get *-f install*": "exit 100"})
    (bare / "apt-unfinished").write_text("nvidia-open=580-1\n")
    mended(bare, code=100)
    assert (bare / "apt-unfinished").exists()


def test_what_others_left_apt_mends_itself(bare: Path) -> None:
    stand_in(bare, "apt-get dpkg dpkg-query", APT)
    said = mended(bare)
    assert said[-1].endswith(" -f install")
    assert not [one for one in said if "--remove" in one]


OPEN, DAEMON = "nvidia-open-595-1.noarch", "nvidia-persistenced-595-1.noarch"
RPM = {
    f"rpm -q -- {OPEN}": "exit 1",
    f"rpm -q -- {DAEMON}": "exit 0",
    "rpm -q --qf*-- nvidia-persistenced.noarch": (
        f"printf '%s\\n' nvidia-persistenced-580-1.noarch {DAEMON}"
    ),
}


def whole(folder: Path, code: int = 0) -> list[str]:
    (folder / "journal").write_bytes(program())
    return calls(folder, ["dash", str(folder / "journal"), "whole"], code)


def test_dnf_finishes_what_it_was_cut_off_from(bare: Path) -> None:
    """Of two versions the one goes that was replaced; scripts of the one that came run again."""
    stand_in(bare, "rpm dnf", RPM)
    assert whole(bare) == []
    note = bare / "dnf-unfinished"
    note.write_text(f"nvidia-open.noarch {OPEN}\nnvidia-persistenced.noarch {DAEMON}\n")
    said = whole(bare)
    assert "rpm -e --nodeps -- nvidia-persistenced-580-1.noarch" in said
    assert said[-1].startswith("dnf -q -y")
    assert said[-1].endswith(f"reinstall -- {DAEMON}")
    assert not note.exists()


def test_dnf_is_asked_again_until_it_is_done(bare: Path) -> None:
    stand_in(bare, "rpm dnf", RPM | {"dnf *reinstall*": "exit 1"})
    (bare / "dnf-unfinished").write_text(f"nvidia-persistenced.noarch {DAEMON}\n")
    whole(bare, code=1)
    assert (bare / "dnf-unfinished").exists()


def test_who_holds_the_lock_is_said() -> None:
    """apt's own words, of Debian 13; that it waits is no failure yet."""
    waits = (
        "Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 77 (unattended-upgr)"
    )
    assert (
        locked_out([f"Waiting for cache lock: {waits}...", "E: Unable to locate package x"]) == ""
    )
    said = [
        "E: " + waits,
        "E: Unable to acquire the dpkg frontend lock, is another process using it?",
    ]
    later = [f"Waiting for cache lock: {waits}...", said[1]]
    assert (
        locked_out(later)
        == locked_out(said)
        == (
            "another package manager is at work: process 77 (unattended-upgr) has held "
            "/var/lib/dpkg/lock-frontend for 300 s; apply again when it is done"
        )
    )


def asked(folder: Path, function: str) -> list[str]:
    """Return what a function of the node's program says."""
    parts = ("common", "items", "files", "accounts", "packages", "dnf")
    (folder / "parts").write_text("\n".join(node_text(part) for part in parts))
    argv = ["dash", "-c", f". {folder}/parts; {function}"]
    path = f"{folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = os.environ | {"PATH": path, "NODEPROOF_HOME": str(folder)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


BUILDS = {
    "rpm -qa*": (
        r"printf '%b' 'kernel-devel\t5.14.0-687\nkernel-devel\t5.14.0-611\n"
        r"nvidia-open\t3:595-1\nnvidia-open\t3:580-1\ngpg-pubkey\t1-1\n'"
    ),
    "rpm -q*--whatprovides*": (
        r"printf '%b' '\tkernel-devel\n\tkernel-devel\nno package provides kernel-PAE\n'; exit 3"
    ),
}


def test_builds_side_by_side_are_packages_of_their_own(bare: Path) -> None:
    """Of a package that dnf was cut off from replacing, the older version was there first."""
    stand_in(bare, "rpm", BUILDS)
    assert asked(bare, "_dnf_installed") == [
        "kernel-devel-5.14.0-611\t5.14.0-611",
        "kernel-devel-5.14.0-687\t5.14.0-687",
        "nvidia-open\t3:580-1",
    ]
    assert asked(bare, "_dnf_full kernel-devel-5.14.0-687=5.14.0-687") == [
        "kernel-devel-5.14.0-687"
    ]
    assert asked(bare, "_dnf_full nvidia-open=3:580-1") == ["nvidia-open-3:580-1"]


def test_builds_are_not_what_a_transaction_replaced(bare: Path) -> None:
    stand_in(bare, "rpm dnf", {"rpm -q -- kernel-devel*": "exit 0", **BUILDS})
    (bare / "dnf-unfinished").write_text("kernel-devel.x86_64 kernel-devel-5.14.0-687.x86_64\n")
    assert not [one for one in whole(bare) if "-e --nodeps" in one]
