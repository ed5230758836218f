"""The catalog of accelerators: whole, sourced, and unable to disagree with itself unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nodeproof.catalog.check import PARTS, looked_up, problems
from nodeproof.catalog.model.base import Entry
from nodeproof.catalog.versions import is_in_series, newest, ordered, series_of, within
from nodeproof.catalog.whole import FOLDER, SUBJECTS, Catalog, bundle, folder, merged, shipped
from nodeproof.errors import UsageError

TODAY = date(2026, 11, 29)
CATALOG = shipped()
ENTRIES = [
    pytest.param(entry, id=f"{subject}.{name}") for subject, name, entry in CATALOG.entries()
]


def test_the_shipped_catalog_agrees_with_itself() -> None:
    assert [str(one) for one in problems(CATALOG, TODAY)] == []


def test_every_subject_has_a_file_and_every_file_a_subject() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == {*SUBJECTS}


def test_it_is_as_large_as_it_was() -> None:
    """An entry that is dropped by accident is missed here."""
    assert len(ENTRIES) >= 288
    assert len(CATALOG.sources) >= 34


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_has_a_source_with_a_date(entry: Entry) -> None:
    assert all(CATALOG.sources[source].url.startswith("https://") for source in entry.sources)
    assert date(2026, 11, 1) <= looked_up(CATALOG, entry) <= TODAY


def test_what_refuses_is_said_by_its_maker() -> None:
    for name, advisory in CATALOG.advisories.items():
        if advisory.subject in ("driver", "cuda", "nvidia-container-toolkit"):
            assert all(CATALOG.sources[one].primary for one in advisory.sources), name


# Each part finds what it is for

BROKEN: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("sources", {"branches": {"580": {"sources": ("nobody",)}}}),
    ("sources", {"branches": {"580": {"sources": ("endoflife", "endoflife")}}}),
    ("sources", {"sources": {"jetson": {"looked_up": date(2027, 1, 1)}}}),
    ("references", {"products": {"t4": {"architecture": "tensor"}}}),
    ("references", {"systems": {"debian-13": {"packages": "nix"}}}),
    ("references", {"systems": {"debian-13": {"first_branch": "591"}}}),
    ("references", {"repositories": {"docker-deb": {"key": "other"}}}),
    ("references", {"rocm_releases": {"6.4": {"targets": ("gfx1",)}}}),
    ("references", {"intel_releases": {"2523": {"products": ("max-9",)}}}),
    ("references", {"advisories": {"amd-2026-0428": {"products": ("mi999",)}}}),
    ("branches", {"branches": {"580": {"end_of_life": None}}}),
    ("branches", {"branches": {"580": {"end_of_life": date(2025, 1, 1)}}}),
    ("branches", {"branches": {"620": {"releases": ({"version": "621.1"},)}}}),
    (
        "branches",
        {"branches": {"620": {"releases": ({"version": "620.2"}, {"version": "620.1"})}}},
    ),
    ("cuda", {"cuda_toolkits": {"13.0.0": {"driver": "570.26"}}}),
    ("cuda", {"cuda_toolkits": {"13.0.0": {"driver": "580.1"}}}),
    ("cuda", {"cuda_toolkits": {"13.0.0": {"package": "cuda-toolkit-13-1"}}}),
    ("cuda", {"cuda_toolkits": {"12.8.1": {"driver": "595.91.07"}}}),
    ("companions", {"companions": {"fabric-manager": {"versions": ("580.1",)}}}),
    ("companions", {"companions": {"gdrcopy": {"kernel": {"9.9": "<6"}}}}),
    ("keys", {"keys": {"docker-deb": {"fingerprint": None, "sha256": None}}}),
    ("keys", {"keys": {"cuda-8793f200": {"fingerprint": "A" * 40}}}),
    ("keys", {"keys": {"docker-deb": {"revoked": True}}}),
    ("systems", {"systems": {"debian-12": {"cuda": {"aarch64": "cuda-debian12-x86_64"}}}}),
    ("systems", {"rocm_releases": {"7.14": {"repositories": {"debian-12": "rocm-7_14-rhel9"}}}}),
    (
        "systems",
        {"rocm_releases": {"7.14": {"driver_repositories": {"debian-12": "rocm-7_14-rhel9"}}}},
    ),
    (
        "systems",
        {
            "intel_releases": {
                "2523": {"systems": {"rhel-9": {"kernels": ["5.14"], "repository": "gaudi-jammy"}}}
            }
        },
    ),
    ("advisories", {"advisories": {"nvidia-5861": {"published": date(2027, 1, 1)}}}),
    ("advisories", {"advisories": {"nvidia-5861": {"fixed": {"580": "595.91.07"}}}}),
    ("advisories", {"advisories": {"nvidia-5861": {"fixed": {"580": "580.65.06"}}}}),
    ("hardware", {"products": {"t4": {"devices": ("2330",)}}}),
    ("hardware", {"products": {"t4": {"mig": 7}}}),
    ("hardware", {"products": {"t4": {"vendor": "amd"}}}),
    ("hardware", {"products": {"titan-v": {"modules": ("open",)}}}),
    ("hardware", {"intel_releases": {"2523": {"products": ("gaudi3",)}}}),
    ("orphans", {"systems": {"rhel-10": {"packages": "el-modular"}}}),
]


def changed(catalog: Catalog, changes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Catalog:
    """Return a catalog with some fields of some entries changed, checked by its schema."""
    tables = catalog.model_dump()
    for subject, entries in changes.items():
        for name, fields in entries.items():
            tables[subject][name] = {**tables[subject].get(name, {}), **fields}
    return Catalog.model_validate(tables)


@pytest.mark.parametrize(
    ("part", "changes"), BROKEN, ids=[f"{part}-{n}" for n, (part, _) in enumerate(BROKEN)]
)
def test_each_part_finds_what_it_is_for(part: str, changes: dict[str, Any]) -> None:
    found = problems(changed(CATALOG, changes), TODAY)
    assert part in {one.part for one in found}
    assert all(one.text and one.entry for one in found)


def test_no_part_is_idle() -> None:
    assert {part for part, _ in BROKEN} == {*PARTS}


@pytest.mark.parametrize(
    "changes",
    [
        {"branches": {"580": {"sources": ()}}},
        {"branches": {"580": {"kind": "best"}}},
        {"branches": {"580": {"nice": True}}},
        {"keys": {"docker-deb": {"fingerprint": "9dc858229fc7dd38854ae2d88d81803c0ebfcd88"}}},
        {"keys": {"docker-deb": {"fingerprint": "8D81803C0EBFCD88"}}},
        {"repositories": {"docker-deb": {"uri": "http://download.docker.com/linux/"}}},
        {"repositories": {"docker-deb": {"uri": "https://x/$(id)`id`"}}},
        {"companions": {"fabric-manager": {"names": [{"branches": "580", "deb": [], "rpm": []}]}}},
        {"cuda_toolkits": {"13.0.0": {"driver": "580; reboot"}}},
        {"cuda_toolkits": {"13.0.0": {"package": "cuda toolkit"}}},
        {"products": {"t4": {"devices": ("10DE",)}}},
    ],
)
def test_the_schema_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        changed(CATALOG, changes)


# Reading

DOCKER_30 = (
    '[runtimes.docker]\ntitle = "Docker"\nnewest = { "30" = "30.0.0" }\nsources = ["endoflife"]\n'
)


def test_a_later_entry_takes_an_earlier_ones_place() -> None:
    catalog = merged(folder(), bundle(DOCKER_30, "mine"))
    assert catalog.runtimes["docker"].newest == {"30": "30.0.0"}
    assert catalog.runtimes["runc"] == CATALOG.runtimes["runc"]
    assert CATALOG.runtimes["docker"].newest != {"30": "30.0.0"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[runtimes.docker", "is not TOML"),
        ("[drivers.x]", "drivers is no table of the catalog"),
        ("runtimes = 3", "runtimes is no table"),
        ('[runtimes.docker]\ntitle = "Docker"\n', "runtimes.docker.sources: Field required"),
    ],
)
def test_a_wrong_bundle_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        merged(folder(), bundle(text, "mine"))


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "drivers.toml").write_text("")
    with pytest.raises(UsageError, match=r"drivers\.toml: drivers is no table"):
        folder(tmp_path)


# Versions


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("580.95.05", "580.126.09"),
        ("580", "580.65.06"),
        ("570.26", "570.124.06"),
        ("1.4.0-rc.3", "1.4.0"),
        ("2.9.2", "2.9.2-0.1.6"),
        ("2.9.2-0.1.5", "2.9.2-0.1.6"),
        ("5.14.0-570", "5.14.0-687"),
        ("1:4.5.3", "4.6.0-1"),
        ("7.14", "10.0"),
    ],
)
def test_versions_have_an_order(older: str, newer: str) -> None:
    assert ordered(older) < ordered(newer)
    assert newest([newer, older]) == newer


@pytest.mark.parametrize(
    ("version", "series", "expected"),
    [
        ("12.8.1", "12", True),
        ("12.8.1", "12.8", True),
        ("12.8.1", "12.80", False),
        ("13.0.2", "1", False),
        ("5.14.0-687.51.1.el9_8.x86_64", "5.14.0-687", True),
        ("5.14.0-570.12.1.el9_6.x86_64", "5.14.0-687", False),
        ("6.8.0-51-generic", "6.8", True),
    ],
)
def test_series(version: str, series: str, expected: bool) -> None:
    assert is_in_series(version, series) is expected


def test_series_of_and_specifiers() -> None:
    assert series_of("6.12.107+deb13-amd64") == "6.12"
    assert within("12.9.1", ">=12.8,<13")
    assert not within("13.0.0", ">=12.8,<13")
    assert within("570", "<580")
