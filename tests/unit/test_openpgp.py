"""Keys as gpg makes them: fingerprints, expiry, revocation, and files that are none."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeproof.errors import UsageError
from nodeproof.repositories.armor import armored, dearmored
from nodeproof.repositories.keys import key_blocks, keyring, trusted, up_to_date
from nodeproof.repositories.openpgp import certificates
from nodeproof.repositories.spec import SigningKey

NOW = datetime.now(UTC)


class Gpg:
    """A keyring of gpg's."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: str, then: str = "", stdin: bytes = b"") -> bytes:
        clock = [f"--faked-system-time={then}!"] if then else []
        done = subprocess.run(
            ["gpg", "--homedir", self.home, "--batch", "--quiet", *clock, *words],
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make(self, name: str, *words: str, then: str = "20200101T000000") -> str:
        """Make a key and return its fingerprint."""
        self("--passphrase", "", "--quick-gen-key", name, *words, then=then)
        return self.listed(name)[0]

    def listed(self, *names: str) -> list[str]:
        """Return fingerprints of primary keys and subkeys, as gpg says them."""
        lines = self("--list-keys", "--with-colons", *names).decode().splitlines()
        return [line.split(":")[9] for line in lines if line.startswith("fpr")]


@pytest.fixture
def gpg(tmp_path: Path) -> Iterator[Gpg]:
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    yield Gpg(home)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


@pytest.mark.parametrize("algorithm", ["rsa2048", "ed25519", "dsa2048", "nistp256"])
@pytest.mark.parametrize("form", ["--armor", "--no-armor"])
def test_fingerprint_is_gpgs(gpg: Gpg, algorithm: str, form: str) -> None:
    wanted = gpg.make("one", algorithm, "sign", "never")
    (found,) = certificates(gpg(form, "--export"))
    assert found.fingerprint == wanted
    assert (found.expired(NOW), found.revoked) == (None, False)


def test_subkeys_are_no_keys_of_their_own(gpg: Gpg) -> None:
    gpg.make("one", "ed25519", "cert", "never")
    gpg("--passphrase", "", "--quick-add-key", gpg.listed()[0], "ed25519", "sign", "never")
    primary, subkey = gpg.listed()
    (found,) = certificates(gpg("--export"))
    assert found.fingerprint == primary
    assert [one.fingerprint for one in found.subkeys] == [subkey]
    assert [found.primary.signs, found.subkeys[0].signs] == [False, True]


def test_several_keys_in_a_file_or_in_blocks(gpg: Gpg) -> None:
    prints = [gpg.make(name, "ed25519", "sign", "never") for name in ("one", "two")]
    assert [one.fingerprint for one in certificates(gpg("--export"))] == prints
    blocks = b"They said:\r\n" + b"\n".join(
        gpg("--armor", "--export", name).replace(b"\n", b"\r\n") for name in ("one", "two")
    )
    assert [one.fingerprint for one in certificates(blocks)] == prints


def test_expiry(gpg: Gpg) -> None:
    """Of the key as a whole; prolonged, it is of use again."""
    print_ = gpg.make("one", "ed25519", "sign", "30d")
    (found,) = certificates(gpg("--export"))
    assert found.expired(NOW) == datetime(2020, 1, 31, tzinfo=UTC)
    assert found.expired(datetime(2020, 1, 30, tzinfo=UTC)) is None
    gpg("--passphrase", "", "--quick-set-expire", print_, "0", then="20200115T000000")
    (found,) = certificates(gpg("--export"))
    assert found.expired(NOW) is None


def test_only_what_signs_has_expired(gpg: Gpg) -> None:
    """The primary key is good for ever, but nothing new can be signed."""
    print_ = gpg.make("one", "ed25519", "cert", "never")
    then = "20200101T000000"
    gpg("--passphrase", "", "--quick-add-key", print_, "ed25519", "sign", "30d", then=then)
    (found,) = certificates(gpg("--export"))
    assert found.expired(NOW) == datetime(2020, 1, 31, tzinfo=UTC)
    gpg("--passphrase", "", "--quick-add-key", print_, "ed25519", "sign", "never", then=then)
    (found,) = certificates(gpg("--export"))
    assert found.expired(NOW) is None


def test_revoked(gpg: Gpg) -> None:
    print_ = gpg.make("one", "ed25519", "sign", "never")
    made = (gpg.home / "openpgp-revocs.d" / f"{print_}.rev").read_text()
    gpg("--import", stdin=made[made.index(":---") + 1 :].encode())
    (found,) = certificates(gpg("--export"))
    assert found.revoked
    with pytest.raises(UsageError, match=f"{print_}, was revoked by its owner"):
        trusted(gpg("--export"), SigningKey((print_,), content="x"), NOW, "that is shipped")


def test_what_others_say_of_a_key_is_no_news(gpg: Gpg) -> None:
    """Anybody can sign a key of anybody: their signature says nothing of its end."""
    print_ = gpg.make("one", "ed25519", "sign", "30d")
    gpg.make("two", "ed25519", "cert", "never")
    gpg(
        "--passphrase",
        "",
        "--default-key",
        "two",
        "--quick-sign-key",
        print_,
        then="20200120T000000",
    )
    found = certificates(gpg("--export", "one"))
    assert found[0].expired(NOW) == datetime(2020, 1, 31, tzinfo=UTC)


def test_secret_keys_are_refused(gpg: Gpg) -> None:
    gpg.make("one", "ed25519", "sign", "never")
    with pytest.raises(ValueError, match="holds a secret key"):
        certificates(gpg("--passphrase", "", "--pinentry-mode", "loopback", "--export-secret-keys"))


def test_cut_off_anywhere(gpg: Gpg) -> None:
    """Never taken for a whole key: one that its owner has not signed is none."""
    gpg.make("one", "ed25519", "sign", "never")
    whole = gpg("--export")
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"^(?:is|holds) "):
            certificates(whole[:length])
    text = gpg("--armor", "--export")
    lines = text.splitlines(keepends=True)
    del lines[len(lines) // 2]
    with pytest.raises(ValueError, match="was changed on its way"):
        certificates(b"".join(lines))


@given(st.binary(max_size=300))
def test_anything_else_is_no_key(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(?:is|holds) "):
        certificates(content)


@given(st.binary(min_size=1, max_size=2000))
def test_armor_is_taken_off_again(packets: bytes) -> None:
    text = armored(packets, ["nodeproof pinned ABC"]).encode()
    assert dearmored(text) == packets


def test_gpg_reads_our_armor(gpg: Gpg) -> None:
    print_ = gpg.make("one", "rsa2048", "sign", "never")
    key = SigningKey((print_,), content="x")
    text = keyring(b"", trusted(gpg("--export"), key, NOW, "here"), key)
    listed = gpg("--show-keys", "--with-colons", stdin=text.encode()).decode()
    assert f":{print_}:" in listed


# Pins

BROKEN: dict[str, tuple[Callable[[Gpg], bytes], str]] = {
    "another key": (lambda gpg: gpg("--export", "two"), "is {two}, pinned is {one}: it is not the"),
    "another besides": (lambda gpg: gpg("--export", "one", "two"), "holds {two} besides"),
    "nothing": (lambda gpg: b"", "is no OpenPGP key file"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_only_pinned_keys_are_trusted(gpg: Gpg, what: str) -> None:
    one, two = (gpg.make(name, "ed25519", "sign", "never") for name in ("one", "two"))
    key = SigningKey((one,), url="https://vendor.example/key")
    make, sentence = BROKEN[what]
    with pytest.raises(UsageError) as caught:
        trusted(make(gpg), key, NOW, f"at {key.url}")
    assert sentence.format(one=one, two=two) in caught.value.message
    assert "at https://vendor.example/key" in caught.value.message
    assert trusted(gpg("--export", "one"), key, NOW, "")[0].fingerprint == one


def test_a_keyring_is_chosen_anew_when_its_pins_change(gpg: Gpg) -> None:
    one = gpg.make("one", "ed25519", "sign", "30d", then=_days_ago(10))
    two = gpg.make("two", "ed25519", "sign", "never")
    key, both = SigningKey((one,), content="x"), SigningKey((two, one), content="x")
    text = keyring(b"", trusted(gpg("--export", "one"), key, NOW, ""), key)
    assert up_to_date(text, key, NOW)
    assert not up_to_date(text, both, NOW)
    assert not up_to_date(text, key, NOW + timedelta(days=40))
    assert not up_to_date(text.replace("\n=", "\nAAAA\n="), key, NOW)
    assert not up_to_date("", key, NOW)


def test_a_key_file_can_be_pinned_by_its_digest(gpg: Gpg) -> None:
    """What the digest leaves out is not used either: it could hold more than a version."""
    one = gpg.make("one", "ed25519", "sign", "never")
    whole = gpg("--armor", "--export", "one")
    first, rest = whole.split(b"\n", 1)
    said = first + b"\nVersion: 2.7\n" + rest
    sha256 = hashlib.sha256(whole).hexdigest()
    key = SigningKey(url="https://v.example/k", sha256=sha256, sha256_without="^Version")
    found = trusted(said, key, NOW, "")
    assert [each.fingerprint for each in found] == [one]
    text = keyring(said, found, key)
    assert text.encode() == key_blocks(said, found, key).encode() == whole
    assert up_to_date(text, key, NOW)
    assert not up_to_date(text.replace("\n=", "\nVersionA\n=", 1)[:-1], key, NOW)
    gpg.make("two", "ed25519", "sign", "never")
    other = gpg("--armor", "--export", "two")
    with pytest.raises(UsageError, match=f"pinned is {sha256}: it is not the vendor's"):
        trusted(other, key, NOW, "")


def _days_ago(days: int) -> str:
    return (NOW - timedelta(days=days)).strftime("%Y%m%dT%H%M%S")
