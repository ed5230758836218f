"""What is learnt about the host: KVM that works, cgroups, container nodes left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nodeproof.errors import RefusedError
from nodeproof.lab import accel, lease, nspawn, store
from nodeproof.lab.container import containers

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw shared:3 - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture
def kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path / "cache"))
    device = tmp_path / "kvm"
    monkeypatch.setattr(accel, "KVM", device)
    return device


def test_no_kvm(kvm: Path) -> None:
    chosen = accel.choose(kvm, kvm)
    assert not chosen.kvm
    assert "does not exist" in str(chosen)
    assert chosen.arguments[1].startswith("tcg")


def test_writable_kvm_is_not_proof(kvm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm.touch()
    asked = []

    def problem(kernel: Path, initrd: Path) -> str:
        asked.append(kernel)
        return "no progress in 10 s"

    monkeypatch.setattr(accel, "problem", problem)
    for _ in range(2):
        chosen = accel.choose(kvm, kvm)
        assert not chosen.kvm
        assert chosen.reason.endswith("failed: no progress in 10 s")
    assert len(asked) == 1  # the verdict is kept for this boot of the host


def test_working_kvm(kvm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm.touch()
    monkeypatch.setattr(accel, "problem", lambda *_: "")
    assert accel.choose(kvm, kvm).arguments == ["-accel", "kvm", "-cpu", "host"]


def test_verdict_of_another_boot_is_not_used(kvm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm.touch()
    (store.cache_dir()).mkdir()
    store.write_json(store.cache_dir() / "kvm.json", {"boot": "another", "problem": ""})
    monkeypatch.setattr(accel, "problem", lambda *_: "hangs")
    assert not accel.choose(kvm, kvm).kvm


@pytest.mark.parametrize(
    ("output", "found"),
    [("[ 1.0] Run /bin/true as init process", ""), ("SeaBIOS", "QEMU ended early")],
)
def test_trial_boot_looks_for_user_space(
    kvm: Path, monkeypatch: pytest.MonkeyPatch, output: str, found: str
) -> None:
    monkeypatch.setattr(accel, "qemu_command", lambda: ["sh", "-c", f"echo '{output}'"])
    assert accel.problem(kvm, kvm) == found


def test_trial_boot_that_hangs_is_stopped(kvm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "SECONDS", 0.2)
    monkeypatch.setattr(accel, "qemu_command", lambda: ["sh", "-c", "echo SeaBIOS; exec sleep 9"])
    assert accel.problem(kvm, kvm) == "no progress in 0.2 s"


@pytest.mark.parametrize(
    ("text", "names"),
    [(HYBRID, ["memory", "systemd", "unified"]), (UNIFIED, ["cgroup"])],
    ids=["hybrid", "unified"],
)
def test_hierarchies(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "mountinfo").write_text(text)
    assert [path.name for path in nspawn.hierarchies(tmp_path / "mountinfo")] == names


def test_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "FOLDER", tmp_path)
    first, second = lease.take(tmp_path / "a"), lease.take(tmp_path / "b")
    assert [first.address, second.address] == ["10.77.0.2", "10.77.0.3"]
    assert not first.abandoned
    first.drop()
    assert list(lease.leases()) == [second]
    assert lease.take(tmp_path / "c").index == 2


def test_lease_of_a_process_that_is_gone_is_abandoned() -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    assert lease.Lease(2, "/x", done.pid, 123).abandoned
    # The number is in use again, by a process that started at another time.
    assert lease.Lease(2, "/x", os.getpid(), 1).abandoned


def test_network_card_names_are_short_enough() -> None:
    longest = lease.Lease(lease.INDEXES[-1], "/x", 1, 1).machine
    assert len(f"vb-{longest}") <= 15  # IFNAMSIZ, less the final zero


def test_container_nodes_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RefusedError, match="they need root"), containers(["node1"]):
        pass
