"""The gpu layer on a confidential guest: what may be asked, what is read, refused and proven.

What nvidia-smi conf-compute says is what others published of their guests: one H100 with driver
595.71.05 (github.com, a log of runs of 2026-07-30), and eight in Protected PCIe mode (the
`DevTools Mode` of these was not published).
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.context import ctx_host
from tests.unit.test_layer_gpu_operations import Node

from nodeproof.catalog.resolve.choice import Choice, DriverChoice
from nodeproof.facts.systemd import UnitData
from nodeproof.layers.gpu import confidential_checks as checks
from nodeproof.layers.gpu.confidential import CRYPTO, Confidential, ConfidentialData
from nodeproof.layers.gpu.refusals import why_not
from nodeproof.layers.gpu.settings import Confidential as Asked
from nodeproof.layers.gpu.settings import Settings

ONE = """CC State : ON
Multi-GPU Mode : None
CPU CC Capabilities : AMD SEV-SNP(vTOM Mode)
GPU CC Capabilities : CC Capable
CC GPUs Ready State : Ready
DevTools Mode : OFF
"""
EIGHT = """    CC State                   : OFF
    Multi-GPU Mode             : Protected PCIe
    CPU CC Capabilities        : INTEL TDX
    GPU CC Capabilities        : CC Capable
    CC GPUs Ready State        : Ready
"""
TOOLS = "DevTools Mode: OFF\n"
DAEMON = "/usr/bin/nvidia-persistenced --user nvpd --uvm-persistence-mode --verbose"
ATTESTED = Asked(attested_by="attest.service")


def read(folder: Path, said: str, tools: str = TOOLS, daemon: str = DAEMON) -> ConfidentialData:
    """Return what the fact's script makes of what the programs say."""
    proc = folder / "proc" / "7"
    proc.mkdir(parents=True, exist_ok=True)
    (proc / "cmdline").write_bytes(b"".join(one.encode() + b"\0" for one in daemon.split()))
    (folder / "q").write_text(said)
    (folder / "d").write_text(tools)
    for name, body in (
        ("nvidia-smi", f'[ "$1" = conf-compute ] && cat "{folder}/${{2#-}}"'),
        ("systemctl", f"echo {7 if daemon else 0}"),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    command = Confidential().command().replace("/proc/driver/nvidia/version", f"{folder}/q")
    done = subprocess.run(
        ["sh", "-c", command.replace("/proc/$pid", f"{folder}/proc/$pid")],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return Confidential().process(done.stdout.splitlines())


# What is read


def test_one_gpu(tmp_path: Path) -> None:
    found = read(tmp_path, ONE)
    assert (found.why_open, found.ready, found.kept) == ("", True, True)
    assert found.daemon == DAEMON


def test_several_gpus_in_protected_pcie_mode(tmp_path: Path) -> None:
    found = read(tmp_path, EIGHT)
    assert (found.why_open, found.ready) == ("", True)


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        ("State : ON", "State : OFF", "CC State is OFF; the host sets it"),
        ("Mode : OFF", "Mode : ON", "DevTools Mode is ON"),
        (ONE, "ERROR: unsupported\n", "names no CC State: ERROR: unsupported"),
        (ONE, "", "it says nothing"),
        ("DevTools Mode : OFF\n", "", "DevTools Mode is unknown"),
    ],
)
def test_gpus_that_are_open(tmp_path: Path, was: str, becomes: str, why: str) -> None:
    assert why in read(tmp_path, ONE.replace(was, becomes), tools="").why_open


def test_gpus_that_take_no_work(tmp_path: Path) -> None:
    assert not read(tmp_path, ONE.replace("State : Ready", "State : Not Ready")).ready
    assert not ConfidentialData().ready


def test_daemon_that_lets_the_session_go(tmp_path: Path) -> None:
    usual = DAEMON.replace("uvm-persistence-mode", "no-persistence-mode")
    assert not read(tmp_path, ONE, daemon=usual).kept
    none = read(tmp_path, ONE, daemon="")
    assert (none.daemon, none.kept) == ("", False)


# What may be asked, and what is refused


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"confidential": {"attested_by": "attest"}}, "should match pattern"),
        ({"confidential": {"attested_by": "a.service; id"}}, "should match pattern"),
        ({"confidential": {"mode": "on"}}, "not permitted"),
        ({"confidential": {}, "persistence": False}, "nobody keeps initialised"),
    ],
)
def test_what_cannot_be_asked(asked: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        Settings.model_validate(asked)


def refused(platform: Any = "vm", modules: Any = "open", known: bool = True, **more: Any) -> str:
    driver = DriverChoice(version="580.178.04", branch="580", modules=modules, origin="vendor")
    settings = Settings(confidential=ATTESTED, **more)
    with ctx_host.use(Node(Unit=UnitData(known=known))):
        return why_not(settings, Choice(driver=driver), platform, asks_gpus=False)


def test_refused_before_the_first_change() -> None:
    assert refused() == ""
    assert "this node is no guest; a host sets the mode" in refused("bare")
    assert "only the open modules know it" in refused(modules="proprietary")
    assert "there is no attest.service" in refused(known=False)


# What is proven


class Host:
    """A node that answers by the first words of what it is asked."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers

    def check_output(self, command: str, *arguments: str) -> str:
        return self.answers["modprobe" if command.startswith("modprobe") else command.split()[3]]


def test_checks_pass_on_what_is_right(tmp_path: Path) -> None:
    found = read(tmp_path, ONE)
    checks.test_gpus_are_confidential(found)
    checks.test_session_with_the_gpu_is_kept(found)
    checks.test_attested_gpus_take_work(found, ATTESTED)
    checks.test_crypto_comes_before_the_driver(Host(modprobe=f"x\n{CRYPTO}\n"), ATTESTED)
    checks.test_gpus_wait_for_attestation_at_boot(ready(), Settings(), ATTESTED)


def ready(requires: str = "attest.service", active: str = "active") -> Host:
    """Return a node with the unit that lets GPUs take work."""
    return Host(
        **{"Requires": requires, "ActiveState": f"ActiveState={active}\nUnitFileState=enabled"}
    )


def test_checks_fail_on_what_is_not(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="CC State is OFF"):
        checks.test_gpus_are_confidential(read(tmp_path, ONE.replace(": ON", ": OFF")))
    with pytest.raises(AssertionError, match="does not run"):
        checks.test_session_with_the_gpu_is_kept(read(tmp_path, ONE, daemon=""))
    with pytest.raises(AssertionError, match="runs without --uvm-persistence-mode"):
        checks.test_session_with_the_gpu_is_kept(
            read(tmp_path, ONE, daemon="/usr/bin/nvidia-persistenced --verbose")
        )
    waits = read(tmp_path, ONE.replace("State : Ready", "State : Not Ready"))
    with pytest.raises(AssertionError, match="is not Ready"):
        checks.test_attested_gpus_take_work(waits, ATTESTED)
    with pytest.raises(AssertionError, match="modprobe is not told: softdep nvidia"):
        checks.test_crypto_comes_before_the_driver(Host(modprobe=f"#{CRYPTO}"), ATTESTED)
    with pytest.raises(AssertionError, match=r"does not wait for attest\.service"):
        checks.test_gpus_wait_for_attestation_at_boot(ready("x.service"), Settings(), ATTESTED)
    with pytest.raises(AssertionError, match="is failed"):
        checks.test_gpus_wait_for_attestation_at_boot(ready(active="failed"), Settings(), ATTESTED)
