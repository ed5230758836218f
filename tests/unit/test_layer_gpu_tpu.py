"""The gpu layer on a TPU VM: what may be asked, what is refused, and what is proven."""

from __future__ import annotations

import getpass
import hashlib
import shlex
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nodeproof.facts.accelerators import Accelerators, Gpu
from nodeproof.layers.gpu import tpu_checks as checks
from nodeproof.layers.gpu.refusals import not_here
from nodeproof.layers.gpu.settings import Settings, Tpu

V5E = Gpu(pci_address="0000:00:04.0", vendor_id="1ae0", device_id="0063", class_code="ff0000")


@pytest.mark.parametrize(
    "asked",
    [
        {"users": ["root; id"]},
        {"libtpu": "0.0.51"},
        {"libtpu": {"opt/jax": "0.0.51"}},
        {"libtpu": {"/opt/$(id)": "0.0.51"}},
        {"libtpu": {"/opt/jax": ">=0.0.51"}},
    ],
)
def test_what_cannot_be_asked(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"tpu": asked})


def test_refused_where_there_is_no_tpu() -> None:
    settings = Settings.model_validate({"driver": "none", "tpu": {"users": ["ml"]}})
    assert not_here(settings, Accelerators()).startswith("tpu: there is no TPU on the PCI bus")
    assert not_here(settings, Accelerators(gpus=[V5E])) == ""
    assert not_here(Settings(), Accelerators()) == ""


class Host:
    """A node with devices, on which users may write some of them; files are this machine's."""

    def __init__(self, *devices: str, **may: str) -> None:
        self.devices, self.may = devices, may

    def run(self, command: str, *arguments: str) -> Any:
        if command == checks.DEVICES:
            return _done("\n".join(("/dev/null", *self.devices)))
        if command.startswith("id "):
            return _done("", arguments[0] in self.may)
        if command.startswith("runuser"):
            return _done("", arguments[1] == self.may[arguments[0]])
        words = tuple(map(shlex.quote, arguments))
        done = subprocess.run(["sh", "-c", command % words], capture_output=True, text=True)
        return _done(done.stdout, done.returncode == 0, done.stderr)

    def check_output(self, command: str, *arguments: str) -> str:
        return str(self.run(command, *arguments).stdout)


def _done(stdout: str, well: bool = True, stderr: str = "") -> Any:
    said = {"stdout": stdout, "stderr": stderr, "rc": 0 if well else 1}
    return type("Done", (), {**said, "succeeded": well, "failed": not well})


devices = checks.devices.__wrapped__  # type: ignore[attr-defined]


def test_devices_are_those_of_the_generation() -> None:
    host = Host("/dev/vfio/0", "/dev/vfio/1", "/dev/vfio/vfio", "/dev/accel0")
    assert devices(host, ["0063", "0063"]) == ["/dev/vfio/0", "/dev/vfio/1"]
    assert devices(host, ["005e"]) == ["/dev/accel0"]


def test_each_tpu_needs_its_device() -> None:
    checks.test_each_tpu_can_be_opened(["0063"], ["/dev/vfio/0"])
    with pytest.raises(AssertionError, match="there are 2 TPUs, and devices for 1: /dev/vfio/0"):
        checks.test_each_tpu_can_be_opened(["0063", "0063"], ["/dev/vfio/0"])


def test_users_that_may_not_open_it() -> None:
    host, asked = Host(ml="/dev/vfio/0"), Tpu(users=["ml"])
    checks.test_users_may_open_tpus(host, asked, ["/dev/vfio/0"])
    with pytest.raises(AssertionError, match="may not be opened: ml /dev/vfio/1"):
        checks.test_users_may_open_tpus(host, asked, ["/dev/vfio/0", "/dev/vfio/1"])
    with pytest.raises(AssertionError, match="there is no user ops"):
        checks.test_users_may_open_tpus(host, Tpu(users=["ops"]), ["/dev/vfio/0"])
    with pytest.raises(AssertionError, match="there is no device of a TPU"):
        checks.test_users_may_open_tpus(host, asked, [])


def test_libtpu_of_an_environment(tmp_path: Path) -> None:
    asked = Tpu(libtpu={str(tmp_path): "0.0.51"})
    packages = tmp_path / "lib/python3.12/site-packages"
    (packages / "libtpu-0.0.51.dist-info").mkdir(parents=True)
    with pytest.raises(AssertionError, match=r"there is no libtpu\.so in"):
        checks.test_libtpu_is_the_one_asked_for(Host(), asked)
    (packages / "libtpu").mkdir()
    (packages / "libtpu/libtpu.so").write_text("a library")
    checks.test_libtpu_is_the_one_asked_for(Host(), asked)
    other = Tpu(libtpu={str(tmp_path): "0.0.50"})
    with pytest.raises(AssertionError, match=r"is 0\.0\.51, not 0\.0\.50"):
        checks.test_libtpu_is_the_one_asked_for(Host(), other)
    (packages / "libtpu-0.0.49.dist-info").mkdir()
    with pytest.raises(AssertionError, match=r"is 0\.0\.49 and 0\.0\.51, not 0\.0\.51"):
        checks.test_libtpu_is_the_one_asked_for(Host(), asked)
    with pytest.raises(pytest.skip.Exception):
        checks.test_libtpu_is_the_one_asked_for(Host(), Tpu())


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment with a libtpu as pip installs and records it, and a JAX that needs it."""
    packages = tmp_path / "lib/python3.12/site-packages"
    (packages / "libtpu-0.0.23.dist-info").mkdir(parents=True)
    (packages / "libtpu").mkdir()
    (packages / "libtpu/libtpu.so").write_text("a library")
    told = urlsafe_b64encode(hashlib.sha256(b"a library").digest()).decode().rstrip("=")
    (packages / "libtpu-0.0.23.dist-info/RECORD").write_text(
        f"libtpu/__init__.py,sha256=AAAA,0\nlibtpu/libtpu.so,sha256={told},9\n"
    )
    (packages / "jax-0.7.2.dist-info").mkdir()
    # As in the METADATA of jax 0.7.2.
    (packages / "jax-0.7.2.dist-info/METADATA").write_text(
        'Name: jax\nRequires-Dist: libtpu==0.0.23; extra == "tpu"\nRequires-Dist: requests\n'
    )
    return tmp_path


def test_libtpu_that_was_copied_over(environment: Path) -> None:
    asked = Tpu(libtpu={str(environment): "0.0.23"})
    checks.test_libtpu_is_the_one_that_was_installed(Host(), asked)
    record = environment / "lib/python3.12/site-packages/libtpu-0.0.23.dist-info/RECORD"
    (environment / "lib/python3.12/site-packages/libtpu/libtpu.so").write_text("a nightly one")
    checks.test_libtpu_is_the_one_asked_for(Host(), asked)
    with pytest.raises(AssertionError, match="is not the one that pip installed"):
        checks.test_libtpu_is_the_one_that_was_installed(Host(), asked)
    record.unlink()
    with pytest.raises(AssertionError, match=r"pip did not record the libtpu\.so"):
        checks.test_libtpu_is_the_one_that_was_installed(Host(), asked)
    with pytest.raises(pytest.skip.Exception):
        checks.test_libtpu_is_the_one_that_was_installed(Host(), Tpu())


def test_libtpu_that_jax_was_not_built_with(environment: Path) -> None:
    asked = Tpu(libtpu={str(environment): "0.0.23"})
    checks.test_libtpu_is_one_that_its_users_need(Host(), asked)
    other = Tpu(libtpu={str(environment): "0.0.24"})
    with pytest.raises(
        AssertionError, match=r"jax-0\.7\.2 in .* needs libtpu==0\.0\.23, not 0\.0\.24"
    ):
        checks.test_libtpu_is_one_that_its_users_need(Host(), other)
    (environment / "lib/python3.12/site-packages/jax-0.7.2.dist-info/METADATA").unlink()
    with pytest.raises(pytest.skip.Exception):
        checks.test_libtpu_is_one_that_its_users_need(Host(), other)


def test_who_may_write_an_environment(environment: Path) -> None:
    me = getpass.getuser()
    asked = Tpu(users=[me], libtpu={str(environment): "0.0.23"})
    checks.test_only_root_and_users_write_environments(Host(), asked)
    library = environment / "lib/python3.12/site-packages/libtpu/libtpu.so"
    library.chmod(0o666)
    with pytest.raises(AssertionError, match="with mode 666"):
        checks.test_only_root_and_users_write_environments(Host(), asked)
    with pytest.raises(AssertionError, match="could not look"):
        checks.test_only_root_and_users_write_environments(
            Host(), Tpu(libtpu={"/nowhere": "0.0.1"})
        )


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("", False),
        ("ml ml 644\nml ml 755", False),
        ("ml ml 664", False),
        ("root root 775", False),
        ("ml staff 664", True),
        ("ml staff 644", False),
        ("ops ops 644", True),
        ("root root 777", True),
    ],
)
def test_owners_and_modes(said: str, wrong: bool) -> None:
    """On Ubuntu what users make is writable by the group of their own name."""
    host = type("Host", (), {"run": lambda *_: _done(said)})()
    asked = Tpu(users=["ml"], libtpu={"/opt/jax": "0.0.23"})
    if wrong:
        with pytest.raises(AssertionError, match="/opt/jax has files of"):
            checks.test_only_root_and_users_write_environments(host, asked)
    else:
        checks.test_only_root_and_users_write_environments(host, asked)
