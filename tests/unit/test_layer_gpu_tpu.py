"""The gpu layer on a TPU VM: what may be asked, what is refused, and what is proven."""

from __future__ import annotations

import shlex
import subprocess
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
        return _done(done.stdout, done.returncode == 0)


def _done(stdout: str, well: bool = True) -> Any:
    return type("Done", (), {"stdout": stdout, "succeeded": well, "failed": not well})


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
