"""What is asked of repositories, what errors mean, and what may not be done to packages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nodeproof.errors import UsageError
from nodeproof.repositories.spec import AptRepository, SigningKey
from nodeproof.repositories.transaction import refusal, transaction
from nodeproof.repositories.trouble import clock_is_wrong, meaning

PRINT = "EB693B3035CD5710E231E123A4B469963BF863CC"
URL = "https://vendor.example/debian13/x86_64/"
GOOD: dict[str, Any] = {
    "name": "cuda",
    "uris": (URL,),
    "suites": ("/",),
    "key": SigningKey((PRINT,), url=f"{URL}3bf863cc.pub"),
    "supplies": ("nvidia-*", "libcuda1"),
}

# What is asked for


def test_stanza_of_a_flat_repository() -> None:
    assert AptRepository(**GOOD).sources_text().splitlines()[1:] == [
        "Types: deb",
        f"URIs: {URL}",
        "Suites: /",
        "Signed-By: /etc/apt/keyrings/nodeproof-cuda.asc",
        "Check-Valid-Until: yes",
        "Check-Date: yes",
    ]


def test_stanza_with_components() -> None:
    asked = {**GOOD, "suites": ("noble",), "components": ("main",), "architectures": ("amd64",)}
    lines = AptRepository(**asked, frozen=True).sources_text().splitlines()
    assert lines[3:6] == ["Suites: noble", "Components: main", "Architectures: amd64"]
    assert "Check-Valid-Until: no" in lines


def test_nothing_but_what_it_supplies() -> None:
    stanzas = AptRepository(**GOOD).preferences_text().split("\n\n")[1:]
    pin = 'Pin: origin "vendor.example"'
    assert [stanza.splitlines() for stanza in stanzas] == [
        ["Package: *", pin, "Pin-Priority: -1"],
        ["Package: nvidia-* libcuda1", pin, "Pin-Priority: 600"],
    ]
    asked = {**GOOD, "supplies": (), "pin": "release o=NVIDIA,l=NVIDIA CUDA"}
    (only,) = AptRepository(**asked).preferences_text().split("\n\n")[1:]
    assert only.splitlines()[1] == "Pin: release o=NVIDIA,l=NVIDIA CUDA"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": "a b"},
        {"name": ""},
        {"uris": ()},
        {"uris": ("https://vendor.example/\nSigned-By: x",)},
        {"uris": ("https://vendor.example/a b",)},
        {"uris": ("vendor.example",)},
        {"uris": ("javascript:1",)},
        {"suites": ()},
        {"suites": ("a b",)},
        {"suites": ("noble",)},
        {"components": ("main",)},
        {"suites": ("noble",), "components": ("main\nX: y",)},
        {"architectures": ("amd64\n",)},
        {"supplies": ("a\nPin: x",)},
        {"supplies": ("a b",)},
        {"pin": "version *"},
        {"pin": "release a=x\nPin-Priority: 999"},
        {"priority": 1001},
        {"priority": 0},
    ],
    ids=str,
)
def test_what_is_not_allowed_in_files(wrong: dict[str, Any]) -> None:
    AptRepository(**GOOD)
    with pytest.raises(UsageError):
        AptRepository(**{**GOOD, **wrong})


@pytest.mark.parametrize(
    ("prints", "where"),
    [
        ((), {"url": URL}),
        ((PRINT[-16:],), {"url": URL}),
        ((PRINT.lower(),), {"url": URL}),
        ((PRINT,), {}),
        ((PRINT,), {"url": URL, "content": "key"}),
        ((PRINT,), {"url": "file.pub"}),
        ((PRINT,), {"url": f"{URL}x y"}),
        ((), {"url": URL, "sha256": "AB"}),
    ],
)
def test_keys_that_pin_nothing(prints: tuple[str, ...], where: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        SigningKey(prints, **where)


# What errors mean: apt 2.6 of Debian 12, apt 3.0 of Debian 13, as they say it

MEANINGS = {
    "W: GPG error: http://v/x InRelease: The following signatures couldn't be verified because the "
    "public key is not available: NO_PUBKEY C0069735EAF5148E": "is signed with the key "
    "C0069735EAF5148E, which is not the pinned one",
    "W: OpenPGP signature verification failed: http://v/x InRelease: Sub-process /usr/bin/sqv "
    "returned an error code (1), error message is: Missing key "
    "0FED24CEE1311A509D696CDEDE8696BA046BBA17, which is needed to verify signature.": "is signed "
    "with the key 0FED24CEE1311A509D696CDEDE8696BA046BBA17, which",
    "E: Failed to fetch http://v/x/InRelease  The following signatures were invalid: BADSIG "
    "9A6A0F63AAADEC79 good <good@vendor.example>": "the signature of it is wrong",
    "W: GPG error: http://v/x InRelease: The following signatures were invalid: EXPKEYSIG "
    "9A6A0F63AAADEC79 old": "is signed with a key that has expired",
    "Sub-process /usr/bin/sqv returned an error code (1), error message is: Verifying signature: "
    "Message has been manipulated": "the signature of it is wrong",
    "E: Failed to fetch http://v/x/Packages  File has unexpected size (15062 != 15022). Mirror "
    "sync in progress?": "serves is not what it signed",
    "E: Failed to fetch http://v/x/p.deb  Hash Sum mismatch": "serves is not what it signed",
    "E: The repository 'http://v/x Release' is not signed.": "is not signed",
    "E: Release file for http://v/x/InRelease is expired (invalid since 2d 0h 0min 1s). Updates "
    "for this repository will not be applied.": "says that it is out of date",
    "E: Release file for http://v/x/InRelease is not valid yet (invalid for another 1d 23h 59min "
    "49s). Updates for this repository will not be applied.": "the clock of the node is wrong; set",
    "Err:1 http://v/x InRelease\n  404  File not found [IP: 192.0.2.1 80]": "is not there, or not",
    "E: The repository 'http://v/x Release' does not have a Release file.": "is not there, or not",
    "E: Failed to fetch http://v/x/InRelease  Could not connect to 192.0.2.1:80 (192.0.2.1). - "
    "connect (111: Connection refused)": "cannot be reached from the node",
    "E: Failed to fetch http://v/x/InRelease  Temporary failure resolving 'v'": "cannot be reached",
    "E: Failed to fetch https://v/x/InRelease  Certificate verification failed: The certificate is "
    "NOT trusted.": "does not prove who it is",
    "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 12 (apt-get)": "another "
    "package manager is at work",
    "E: Write error - write (28: No space left on device)": "not enough room",
    "   At least 12MB more space needed on the / filesystem.": "not enough room",
    "error: sqlite failure: COMMIT: database or disk is full": "not enough room",
    "Curl error (7): Could not connect to server for http://v/x [Failed to connect to v port 80 "
    "after 16 ms: Could not connect to server]": "(Curl error (7): Could not connect to server for "
    "http://v/x [Failed to connect to v port 80: Could not connect to server])",
    "E: Something new": "it: E: Something new",
}


@pytest.mark.parametrize("said", MEANINGS)
def test_meaning(said: str) -> None:
    assert MEANINGS[said] in meaning("it", said.splitlines())


def test_nothing_said() -> None:
    assert meaning("it", []) == "it: it failed and said nothing"


def test_clock() -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert clock_is_wrong(now - timedelta(minutes=4), now) == ""
    said = "; its clock says 2024-11-01 12:00 UTC, ours 2026-11-01 12:00"
    assert clock_is_wrong(now - timedelta(days=730), now) == said


# What may not be done

ASKED = {"nvidia-open": "595-1"}
WORKS = ["code|0", "wants|nvidia-open=595-1", "offers|nvidia-open|595-1"]
UPGRADE = "Inst|nvidia-open|580-1|595-1|"


def why(*lines: str, going: tuple[str, ...] = (), **allowed: Any) -> str:
    return refusal(transaction([*WORKS, *lines]), ASKED, going, **allowed)


def test_what_is_asked_for_may_be_done() -> None:
    assert why(UPGRADE, "Inst|libcuda1||595-1|") == ""
    assert why(UPGRADE, "Remv|nvidia-old|1||", going=("nvidia-old",)) == ""
    assert why(UPGRADE, held=("nvidia-open",)) == ""


def test_what_cannot_be_brought_back() -> None:
    found = transaction([*WORKS, "Inst|nvidia-open|580-1|595-1| lost", "Inst|new||1|"])
    assert found.lost == [
        "nvidia-open 580-1 would be replaced or removed, and no repository offers that version"
    ]


@pytest.mark.parametrize(
    ("relations", "because"),
    [
        ("needs|other|libc6 (>= 2.3), nvidia-open (= 580-1)", "it needs nvidia-open (= 580-1), "),
        ("needs|other|gone", "it needs gone, which would be removed, too"),
        ("against|nvidia-open|foo, other (<< 9)", "nvidia-open 595-1 cannot be installed together"),
        ("needs|other|gone | nvidia-open", "it does not fit what is asked for"),
        ("needs|other|", "it does not fit what is asked for"),
    ],
)
def test_removal_is_explained(relations: str, because: str) -> None:
    said = why(UPGRADE, "Remv|other|1||", "Remv|gone|1||", relations, going=("gone",))
    assert said.startswith(f"other 1 would be removed, because {because}")


def test_going_back() -> None:
    older = "Inst|nvidia-open|600-1|595-1|older"
    assert "nvidia-open would go back from 600-1 to 595-1" in why(older)
    assert why(older, allow_downgrade=True) == ""
    other = "Inst|libc6|2.41-1|2.36-9|older"
    assert "libc6 would go back" in why(UPGRADE, other, allow_downgrade=True)


def test_what_somebody_nailed_down() -> None:
    moved = "Inst|dkms|3.0-1|3.1-1|"
    assert why(UPGRADE, moved) == ""
    assert "dkms is held at 3.0-1, and would become 3.1-1" in why(UPGRADE, moved, held=("dkms",))


def test_no_such_version() -> None:
    found = transaction(["code|100", WORKS[1], "offers|nvidia-open|580-1", "said|E: Not found"])
    assert refusal(found, ASKED, ()).startswith(
        "no repository offers nvidia-open 595-1: there are 580-1; choose one of those"
    )


def test_no_way_in_the_package_managers_words() -> None:
    said = ["code|100", "said|E: Failed to fetch http://v/a.deb  404  Not Found"]
    assert "is not there, or not all of it" in why(*said)
    unmet = "said| fabric : Depends: nvidia-open (= 580-1) but 595-1 is to be installed"
    assert why("code|100", unmet, held=("fabric",)) == (
        "fabric, which is held, needs nvidia-open (= 580-1), but 595-1 would be installed; choose "
        "versions that belong together, or name fabric, too"
    )


def test_no_room_is_said_by_dpkg_and_not_by_apt() -> None:
    said = ["code|100", "said|dpkg: No space left on device", "said|E: Sub-process"]
    assert "there is not enough room" in why(*said)


def test_what_was_tried_and_is_not_so() -> None:
    assert why("wrong|libcuda1=595-1") == "libcuda1=595-1 should be installed now, and is not"
