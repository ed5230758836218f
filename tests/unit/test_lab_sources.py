"""Where an image is fetched from: the builder's own Debian sources, and nothing else of its."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeproof.errors import UsageError
from nodeproof.lab import sources
from nodeproof.lab.sources import Source

DEBIAN_12 = """\
# the archive
Types: deb deb-src
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.example/debian-security
Suites: bookworm-security
Components:
 main
 non-free-firmware
Trusted: yes
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example/debian
Suites: trixie
Components: main
Enabled: no
"""
THIRD_PARTY = """\
Types: deb
URIs: https://vendor.example/linux/debian
Suites: bookworm
Components: main
Signed-By: /etc/apt/keyrings/vendor.asc

Types: deb
URIs: https://vendor.example/tool
Suites: nodistro
Components: main

Types: deb-src
URIs: http://archive.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
deb [arch=amd64 trusted=yes] http://archive.example/debian bullseye main contrib  # the archive
deb http://archive.example/debian-security bullseye/updates main
# deb http://off.example/debian bullseye main
deb-src http://archive.example/debian bullseye main
deb cdrom:[Debian]/ bullseye main
deb [signed-by=/etc/apt/keyrings/vendor.asc] https://vendor.example/debian bullseye main
deb https://vendor.example/docker bullseye stable
deb https://vendor.example/flat ./
"""
UBUNTU = """\
Types: deb
URIs: http://archive.example/ubuntu
Suites: noble noble-updates
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sources.MIRROR_VARIABLE, raising=False)


def etc_apt(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        (folder / "sources.list.d" / name.replace("_", ".")).write_text(text)
    return folder


def test_stanzas_are_turned_to_the_other_release(tmp_path: Path) -> None:
    found = sources.debian_sources(
        "debian-13", etc_apt(tmp_path, debian_sources=DEBIAN_12, vendor_sources=THIRD_PARTY)
    )
    assert found == [
        Source(("http://archive.example/debian",), ("trixie",), ("main",)),
        Source(("http://archive.example/debian",), ("trixie-updates",), ("main",)),
        Source(("http://archive.example/debian-security",), ("trixie-security",), ("main",)),
    ]


def test_lines_are_turned_to_the_other_release(tmp_path: Path) -> None:
    found = sources.debian_sources("debian-12", etc_apt(tmp_path, debian_list=ONE_LINE))
    assert found == [
        Source(("http://archive.example/debian",), ("bookworm",), ("main",)),
        Source(("http://archive.example/debian-security",), ("bookworm-security",), ("main",)),
    ]


def test_sources_list_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://archive.example/debian sid main\n")
    assert sources.debian_sources("debian-13", tmp_path)[0].suites == ("trixie",)


def test_signatures_stay_checked(tmp_path: Path) -> None:
    found = sources.debian_sources("debian-13", etc_apt(tmp_path, debian_sources=DEBIAN_12))
    text = "\n".join(source.deb822() for source in found)
    assert text.count("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg") == 3
    assert "trusted" not in text.lower()


def test_ubuntu_builder_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Debian archive is configured") as refused:
        sources.debian_sources("debian-13", etc_apt(tmp_path, ubuntu_sources=UBUNTU))
    assert "NODEPROOF_DEBIAN_MIRROR" in (refused.value.hint or "")


def test_mirror_takes_the_place_of_what_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sources.MIRROR_VARIABLE, "http://near.example/d http://near.example/s")
    found = sources.debian_sources("debian-13", etc_apt(tmp_path, debian_sources=DEBIAN_12))
    assert [(source.uris[0][-1], source.suites[0]) for source in found] == [
        ("d", "trixie"),
        ("d", "trixie-updates"),
        ("s", "trixie-security"),
    ]


def test_unknown_distribution_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="debian-11 is not"):
        sources.debian_sources("debian-11", tmp_path)


def test_settings_that_reach_the_archive_are_kept() -> None:
    dump = """\
Acquire "";
Acquire::AllowInsecureRepositories "1";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy-Auto-Detect "/usr/bin/find-proxy";
Acquire::https::Verify-Peer "";
Acquire::https::CaInfo "/etc/ssl/own.pem";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
Acquire::IndexTargets::deb::DEP-11::KeepCompressed "true";
APT::Get::AllowUnauthenticated "true";
DPkg::Post-Invoke:: "/usr/bin/hook";
"""
    assert sources.select_settings(dump) == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::Languages:: "none";',
    ]


def test_switching_signatures_off_is_never_kept() -> None:
    for key in ("AllowInsecureRepositories", "AllowWeakRepositories", "https::Verify-Peer"):
        assert sources.select_settings(f'Acquire::{key} "false";') == []
