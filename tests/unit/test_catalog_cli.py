"""`nodeproof catalog`: what it prints, what it keeps, and what it refuses to keep."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nodeproof.catalog.overlay import VARIABLE, bundles, current, own_folder
from nodeproof.catalog.update import LARGEST, NAMESPACE
from nodeproof.catalog.whole import SUBJECTS, shipped
from nodeproof.cli.main import cli
from nodeproof.errors import Exit

Invoke = Callable[..., Result]

BUNDLE = """
[sources.nvidia-620-84]
title = "A newer driver"
url = "https://docs.nvidia.com/datacenter/tesla/drivers/620/"
looked_up = 2026-11-22
primary = true

[advisories.nvidia-5990]
subject = "driver"
published = 2026-11-20
severity = "high"
refuses = true
fixed = { "620" = "620.70.06", "580" = "580.178.04", "595" = "595.91.07", "615" = "615.71.09" }
url = "https://github.com/NVIDIA/product-security/tree/main/2026/5990"
sources = ["nvidia-620-84"]
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a folder of bundles of its own."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "own"


@pytest.fixture
def invoke() -> Invoke:
    return lambda *arguments, **kwargs: CliRunner().invoke(
        cli, arguments, prog_name="nodeproof", **kwargs
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.toml"
    path.write_text(BUNDLE)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Looking


def test_subjects_are_listed(invoke: Invoke) -> None:
    done = invoke("catalog", "list")
    assert done.exit_code == Exit.DONE
    for subject in SUBJECTS:
        assert f"{len(getattr(shipped(), subject)):5d}  {subject}\n" in done.stdout
    assert json.loads(invoke("catalog", "list", "--json").stdout)["branches"] == len(
        shipped().branches
    )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_entries_are_listed(subject: str, invoke: Invoke) -> None:
    done = invoke("catalog", "list", subject)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [*getattr(shipped(), subject)]
    found = json.loads(invoke("catalog", "list", subject, "--json").stdout)
    assert [*found] == [*getattr(shipped(), subject)]


def test_an_entry_is_shown_with_its_sources(invoke: Invoke) -> None:
    done = invoke("catalog", "show", "branches.580")
    assert done.exit_code == Exit.DONE
    assert "end_of_life: 2028-06-30\n" in done.stdout
    source = shipped().sources["nvidia-supported-620"]
    assert f"read in: {source.title}, {source.url}, {source.looked_up}\n" in done.stdout
    as_json = json.loads(invoke("catalog", "show", "branches.580", "--json").stdout)
    assert as_json["entry"]["kind"] == "lts"
    assert set(as_json["sources"]) == set(shipped().branches["580"].sources)


def test_who_is_not_the_maker_is_said(invoke: Invoke) -> None:
    assert "(not its maker)" in invoke("catalog", "show", "keys.docker-deb").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "brnches"), "did you mean branches?"),
        (("list", "xyz"), "subjects are sources, "),
        (("show", "branches.58"), "there is no such entry; did you mean branches.580?"),
        (("show", "branches"), "there is no such entry"),
        (("show", "nothing.580"), "is no subject"),
    ],
)
def test_what_is_not_there(arguments: tuple[str, ...], said: str, invoke: Invoke) -> None:
    done = invoke("catalog", *arguments)
    assert (done.exit_code, done.stdout) == (Exit.USAGE, "")
    assert said in done.stderr


def test_check_says_what_is_there(invoke: Invoke) -> None:
    done = invoke("catalog", "check")
    assert done.exit_code == Exit.DONE
    assert f"{len(list(shipped().entries()))} entries" in done.stdout
    assert "0 bundles of yours, 0 problems" in done.stdout


def test_check_finds_what_does_not_agree(own: Path, invoke: Invoke) -> None:
    own.mkdir()
    (own / "mine.toml").write_text(BUNDLE.replace('"580.178.04"', '"580.1"'))
    done = invoke("catalog", "check")
    assert done.exit_code == Exit.FAILED
    assert "advisories.nvidia-5990: 580.1 is not among the releases of R580" in done.stdout


def test_a_broken_bundle_is_named(own: Path, invoke: Invoke) -> None:
    own.mkdir()
    (own / "mine.toml").write_text("[branches")
    done = invoke("catalog", "list")
    assert done.exit_code == Exit.USAGE
    assert f"{own / 'mine.toml'}: is not TOML" in done.stderr


# Bringing newer entries


def test_an_update_is_shown_proven_and_kept(bundle: Path, own: Path, invoke: Invoke) -> None:
    done = invoke("catalog", "update", str(bundle), "--sha256", digest(bundle), "--yes")
    assert done.exit_code == Exit.DONE, done.output
    assert "advisories.nvidia-5990\n" in done.stdout
    assert '  +  "580": "580.178.04"' in done.stdout
    (kept,) = bundles()
    assert kept.parent == own == own_folder()
    assert kept.read_bytes() == bundle.read_bytes()
    assert "nvidia-5990" in current().advisories
    assert "nvidia-5990" not in shipped().advisories
    again = invoke("catalog", "update", str(bundle), "--sha256", digest(bundle))
    assert (again.exit_code, again.stdout) == (Exit.DONE, "nothing in it is new\n")
    assert bundles() == [kept]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), Exit.USAGE, "neither --sha256 nor --signature"),
        (("--sha256", "0" * 64), Exit.REFUSED, "has the sha256"),
        (("--signature", "x.sig"), Exit.USAGE, "needs --signers and --identity"),
    ],
)
def test_an_update_is_never_taken_on_trust(
    arguments: tuple[str, ...], code: Exit, said: str, bundle: Path, invoke: Invoke
) -> None:
    done = invoke("catalog", "update", str(bundle), "--yes", *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert not bundles()


def test_an_update_is_never_silent(bundle: Path, invoke: Invoke) -> None:
    done = invoke("catalog", "update", str(bundle), "--sha256", digest(bundle))
    assert done.exit_code == Exit.USAGE
    assert "there is no terminal to ask on" in done.stderr
    assert not bundles()


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ('"580.178.04"', '"580.1"', Exit.REFUSED, "is not among the releases"),
        ("2026-11-20", "2036-11-20", Exit.REFUSED, "yet to come"),
        ('["nvidia-620-84"]', '["nobody"]', Exit.REFUSED, "nobody"),
        ("refuses = true", 'refuses = "maybe"', Exit.USAGE, "advisories.nvidia-5990.refuses"),
        ("[advisories.", "[nothing.", Exit.USAGE, "nothing is no table"),
        ("= {", "= <", Exit.USAGE, "is not TOML"),
    ],
)
def test_a_bundle_that_does_not_fit(
    old: str, new: str, code: Exit, said: str, bundle: Path, invoke: Invoke
) -> None:
    bundle.write_text(BUNDLE.replace(old, new))
    done = invoke("catalog", "update", str(bundle), "--sha256", digest(bundle), "--yes")
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert not bundles()


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"\xff\xfe", Exit.USAGE, "is not text"),
        (b"#" * (LARGEST + 1), Exit.REFUSED, "which no bundle has"),
    ],
)
def test_what_is_no_bundle(
    content: bytes, code: Exit, said: str, bundle: Path, invoke: Invoke
) -> None:
    bundle.write_bytes(content)
    done = invoke("catalog", "update", str(bundle), "--sha256", digest(bundle), "--yes")
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_file_that_is_not_there(tmp_path: Path, invoke: Invoke) -> None:
    done = invoke("catalog", "update", str(tmp_path / "none.toml"), "--sha256", "0" * 64)
    assert done.exit_code == Exit.FAILED
    assert "cannot be read" in done.stderr


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Serve the test's folder on loopback."""
    handler = partial(_Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_an_update_from_a_url(served: str, bundle: Path, invoke: Invoke) -> None:
    done = invoke("catalog", "update", f"{served}/{bundle.name}", "--sha256", digest(bundle), "-y")
    assert done.exit_code == Exit.DONE, done.output
    assert len(bundles()) == 1


def test_a_url_that_is_not_there(served: str, invoke: Invoke) -> None:
    done = invoke("catalog", "update", f"{served}/none.toml", "--sha256", "0" * 64, "-y")
    assert done.exit_code == Exit.FAILED
    assert "404" in done.stderr


@pytest.fixture
def signed(tmp_path: Path, bundle: Path) -> tuple[str, ...]:
    """Sign the bundle with a key of the test's own; return the options that prove it."""
    key, signers = tmp_path / "key", tmp_path / "signers"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "release", "-f", str(key)]
    subprocess.run(make, check=True)
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key), str(bundle)]
    subprocess.run(sign, check=True, capture_output=True)
    signers.write_text(f"release {key.with_suffix('.pub').read_text()}")
    signature = f"{bundle}.sig"
    return "--signature", signature, "--signers", str(signers), "--identity", "release"


def test_a_signature_proves(signed: tuple[str, ...], bundle: Path, invoke: Invoke) -> None:
    done = invoke("catalog", "update", str(bundle), "--yes", *signed)
    assert done.exit_code == Exit.DONE, done.output
    assert "signed by release, sha256 " in done.stderr
    assert len(bundles()) == 1


@pytest.mark.parametrize("what", ["content", "signer", "identity"])
def test_a_signature_that_does_not_hold(
    what: str, signed: tuple[str, ...], bundle: Path, tmp_path: Path, invoke: Invoke
) -> None:
    options = [*signed]
    if what == "content":
        bundle.write_text(f"{BUNDLE}\n")
    elif what == "identity":
        options[-1] = "somebody"
    else:
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")]
        subprocess.run(make, check=True)
        (tmp_path / "signers").write_text(f"release {(tmp_path / 'other.pub').read_text()}")
    done = invoke("catalog", "update", str(bundle), "--yes", *options)
    assert (done.exit_code, done.stdout) == (Exit.REFUSED, "")
    assert "the signature does not hold" in done.stderr
    assert not bundles()


def test_the_day_is_today() -> None:
    """What is looked up is not of another day than the machine's; the shipped catalog is past."""
    assert all(source.looked_up <= date.today() for source in shipped().sources.values())
