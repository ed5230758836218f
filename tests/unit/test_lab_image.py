"""What decides whether an image is built again, and what lies in it."""

from __future__ import annotations

import dataclasses
import io
import platform
import tarfile
from pathlib import Path

import pytest

from nodeproof.errors import NodeproofError, RefusedError
from nodeproof.lab import guest, identity, image, sources
from nodeproof.lab.sources import Source

RECIPE = image.Recipe("debian-13", "amd64", ("sudo",), "URIs: http://a.example\n", ("A 1;",))


@pytest.mark.parametrize(
    "change",
    [
        {"distribution": "debian-12"},
        {"architecture": "arm64"},
        {"packages": ("sudo", "auditd")},
        {"sources": "URIs: http://b.example\n"},
        {"settings": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_input_changes_the_key(change: dict[str, object]) -> None:
    assert dataclasses.replace(RECIPE, **change).key != RECIPE.key  # type: ignore[arg-type]


def test_same_inputs_give_the_same_key() -> None:
    assert dataclasses.replace(RECIPE).key == RECIPE.key
    assert RECIPE.key.startswith("debian-13-")


def test_customisation_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = RECIPE.key
    monkeypatch.setitem(guest.FILES, "etc/motd", "hello\n")
    assert RECIPE.key != before


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [Source(("http://a.example",), ("s",), ("main",))]
    monkeypatch.setattr(sources, "debian_sources", lambda _: entries)
    monkeypatch.setattr(sources, "apt_settings", list)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.mark.usefixtures("builder")
def test_order_of_preinstalled_packages_does_not_matter() -> None:
    assert image.recipe("debian-13", ["b", "a"]) == image.recipe("debian-13", ["a", "b", "a"])


@pytest.mark.usefixtures("builder")
def test_asked_kernel_takes_the_place_of_the_cloud_kernel() -> None:
    kernels = [
        name
        for name in image.recipe("debian-13", ["linux-image-amd64"]).packages
        if name.startswith("linux-image")
    ]
    assert kernels == ["linux-image-amd64"]
    assert "linux-image-cloud-amd64" in image.recipe("debian-13").packages


@pytest.mark.usefixtures("builder")
def test_container_root_has_no_kernel() -> None:
    packages = image.recipe("debian-13", bootable=False).packages
    assert not [name for name in packages if name.startswith(("linux-image", "initramfs"))]


def test_other_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(RefusedError, match="riscv64"):
        image.architecture()


def test_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "debian-13-0"

    def interrupted() -> None:
        with image.building(folder) as scratch:
            assert scratch is not None
            (scratch / "disk.raw").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert [path.name for path in folder.parent.iterdir()] == [".debian-13-0.lock"]


def test_built_image_is_not_built_again(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "debian-13-0"
    with image.building(folder) as scratch:
        assert scratch is not None
        (scratch / "disk.raw").touch()
    assert (folder / "disk.raw").exists()
    with image.building(folder) as scratch:
        assert scratch is None


def test_failed_step_shows_the_end_of_its_output() -> None:
    with pytest.raises(NodeproofError, match="step: exit status 3") as failed:
        image.run(["sh", "-c", "seq 100; exit 3"], what="step")
    assert (failed.value.hint or "").splitlines() == [str(n) for n in range(81, 101)]


def test_sudoers_file_is_closed() -> None:
    assert guest.image_files()["etc/sudoers.d/90-lab"].mode == 0o440


def test_image_holds_nothing_of_one_machine() -> None:
    paths = set(guest.image_files())
    assert not {path for path in paths if "ssh" in path or "hostname" in path}


def test_identity_keeps_owners_and_modes(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("private")
    (tmp_path / "key.pub").write_text("public")
    own = identity.Identity(
        name="node7",
        host_key=tmp_path / "key",
        authorized="ssh-ed25519 AAAA",
        interfaces=identity.virtual_interfaces(7),
        resolver="nameserver 10.0.2.3\n",
        peers={"node7": "192.168.77.7"},
    )
    with tarfile.open(fileobj=io.BytesIO(own.archive())) as archive:
        found = {entry.name: (oct(entry.mode), entry.uid) for entry in archive}
        private = archive.extractfile("etc/systemd/network/10-lab1.network")
        assert private is not None
        text = private.read().decode()
    assert found["etc/ssh/ssh_host_ed25519_key"] == ("0o600", 0)
    assert found["home/ops/.ssh"] == ("0o700", guest.UID)
    assert found["home/ops/.ssh/authorized_keys"] == ("0o600", guest.UID)
    assert "MACAddress=52:54:00:4c:01:07" in text
    assert "Address=192.168.77.7/24" in text
    assert "Gateway" not in text
