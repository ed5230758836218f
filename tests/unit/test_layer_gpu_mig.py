"""The gpu layer divides GPUs: what may be asked, what is read, and the script on the node.

The script runs against a stand-in for nvidia-smi that keeps the state of two GPUs in files, and
answers in the words of NVIDIA's MIG user guide.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nodeproof.layers.gpu.facts import GpuValues, Live
from nodeproof.layers.gpu.operations import as_asked
from nodeproof.layers.gpu.settings import Settings
from nodeproof.layers.gpu.wanted import wanted_values
from nodeproof.operations.files import render

SMI = r"""#!/bin/sh
# State of GPU N: mode.N, gi.N (a profile a line); `reset` where only a reset changes the mode.
cd "$STATE"
echo "$*" >>calls
n=0
case $1 in -i) n=$2; shift 2 ;; mig) [ "$2" != -i ] || n=$3 ;; esac
case "$*" in
    *query-gpu=index*) echo 0; echo 1 ;;
    *mig.mode.current,mig.mode.pending*) echo "$(cat mode.$n), $(cat pending.$n)" ;;
    *mig.mode.current*) cat mode.$n ;;
    *query-compute-apps*) cat busy.$n 2>/dev/null || : ;;
    "-mig 1") echo Enabled >pending.$n; [ -e reset ] || echo Enabled >mode.$n ;;
    "-mig 0") [ ! -s gi.$n ] || exit 19
        echo Disabled >pending.$n; [ -e reset ] || echo Disabled >mode.$n ;;
    *-dci) [ -s gi.$n ] || { echo "No compute instances found"; exit 6; } ;;
    *-dgi) [ -s gi.$n ] || { echo "No GPU instances found"; exit 6; }; : >gi.$n ;;
    *-cgi*) [ ! -e full ] || { echo "Insufficient Resources"; exit 6; }
        echo "$5" | tr , '\n' >gi.$n ;;
    -L) for g in 0 1; do echo "GPU $g: NVIDIA H200 (UUID: GPU-$g)"; i=0
        while read -r p; do
            echo "  MIG $p     Device  $i: (UUID: MIG-$g$i)"; i=$((i + 1))
        done <gi.$g; done ;;
    *) echo "unknown: $*" >&2; exit 2 ;;
esac
"""


class Gpus:
    """Two GPUs, and the script that divides them."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.bin = folder / "bin"
        for one in (self.state, self.bin):
            one.mkdir()
        (self.bin / "nvidia-smi").write_text(SMI)
        (self.bin / "systemctl").write_text('#!/bin/sh\necho "systemctl $*" >>$STATE/calls\n')
        for program in self.bin.iterdir():
            program.chmod(0o755)
        for gpu in (0, 1):
            for when in ("mode", "pending"):
                (self.state / f"{when}.{gpu}").write_text("Disabled\n")
            (self.state / f"gi.{gpu}").write_text("")

    def divide(self, mig: dict[str, int]) -> subprocess.CompletedProcess[str]:
        """Run the script for these settings."""
        (self.state / "calls").write_text("")
        asked = Settings(mig=mig).instances
        values = {"asked": " ".join(sorted(asked)), "profiles": ",".join(asked)}
        return subprocess.run(
            ["sh", "-c", render("gpu/nodeproof-mig.j2", **values)],
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "STATE": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """What changed something."""
        lines = (self.state / "calls").read_text().splitlines()
        return [line for line in lines if "query" not in line and line != "-L"]

    def instances(self, gpu: int) -> list[str]:
        """Return the profiles of a GPU's instances."""
        return (self.state / f"gi.{gpu}").read_text().split()


@pytest.fixture
def gpus(tmp_path: Path) -> Gpus:
    return Gpus(tmp_path)


def test_gpus_are_divided_and_then_left_alone(gpus: Gpus) -> None:
    done = gpus.divide({"1g.10gb": 1, "3g.40gb": 2})
    assert done.returncode == 0, done.stderr
    assert gpus.instances(0) == gpus.instances(1) == ["3g.40gb", "3g.40gb", "1g.10gb"]
    assert "mig -i 1 -cgi 3g.40gb,3g.40gb,1g.10gb -C" in gpus.calls
    assert "systemctl restart --no-block nvidia-cdi-refresh.service" in gpus.calls
    again = gpus.divide({"3g.40gb": 2, "1g.10gb": 1})
    assert (again.returncode, gpus.calls) == (0, [])


def test_gpus_are_divided_otherwise_and_made_whole(gpus: Gpus) -> None:
    gpus.divide({"3g.40gb": 2})
    assert gpus.divide({"1g.10gb": 7}).returncode == 0
    assert gpus.instances(1) == ["1g.10gb"] * 7
    assert gpus.divide({}).returncode == 0
    assert gpus.instances(0) == []
    assert (gpus.state / "mode.0").read_text() == "Disabled\n"
    assert (gpus.divide({}).returncode, gpus.calls) == (0, [])


def test_a_gpu_in_use_is_left_alone_and_the_other_divided(gpus: Gpus) -> None:
    (gpus.state / "busy.0").write_text("4711, python3\n")
    done = gpus.divide({"3g.40gb": 2})
    assert done.returncode == 1
    assert "GPU 0 is in use by 4711, python3; drain the node first" in done.stderr
    assert (gpus.instances(0), gpus.instances(1)) == ([], ["3g.40gb", "3g.40gb"])


def test_mig_that_comes_with_a_reset(gpus: Gpus) -> None:
    (gpus.state / "reset").touch()
    done = gpus.divide({"3g.40gb": 2})
    assert done.returncode == 0
    assert "GPU 0 is divided at the next boot" in done.stdout
    assert gpus.instances(0) == []
    assert gpus.divide({}).returncode == 0
    assert (gpus.state / "pending.0").read_text() == "Disabled\n"


def test_a_gpu_without_room(gpus: Gpus) -> None:
    (gpus.state / "full").touch()
    done = gpus.divide({"3g.40gb": 2})
    assert (done.returncode, gpus.instances(0)) == (1, [])
    assert "Insufficient Resources" in done.stdout


def test_a_gpu_without_mig(gpus: Gpus) -> None:
    for when in ("mode", "pending"):
        (gpus.state / f"{when}.0").write_text("[N/A]\n")
    assert (gpus.divide({}).returncode, gpus.calls) == (0, [])


@pytest.mark.parametrize(
    ("mig", "said"),
    [
        ({"3g.40gb": 3}, "9 slices are asked for, and a GPU has 7"),
        ({"8g.80gb": 1}, "should match pattern"),
        ({"1g.10gb; reboot": 1}, "should match pattern"),
        ({"1g.10gb": 0}, "greater than or equal to 1"),
        ({"1g.10gb": 8}, "less than or equal to 7"),
        ("all", "valid dictionary"),
    ],
)
def test_what_cannot_be_asked(mig: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(mig=mig)


def test_what_is_asked_of_the_driver() -> None:
    assert Settings(mig={"1g.10gb": 7}).asked.mig is True
    assert Settings(mig={}).asked.mig is Settings().asked.mig is False
    assert Settings.model_validate({"mig": False}).mig == {}
    assert Settings(mig={}).sets_gpus
    assert not Settings().sets_gpus


ROWS = [
    "nvrm=NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.178.04  Release Build",
    "gpu=00000000:18:00.0, Default, 700.00, Enabled, Enabled",
    "gpu=00000000:2A:00.0, Default, 700.00, Enabled, Enabled",
]
LISTED = [
    "list=GPU 0: NVIDIA H200 (UUID: GPU-0)",
    "list=  MIG 3g.71gb     Device  0: (UUID: MIG-00)",
    "list=  MIG 1g.18gb     Device  1: (UUID: MIG-01)",
    "list=GPU 1: NVIDIA H200 (UUID: GPU-1)",
]


def read(*modes: str) -> tuple[GpuValues, ...]:
    return Live().process([*ROWS, *(f"mig={mode}" for mode in modes), *LISTED]).gpus


def test_how_gpus_are_divided_is_read() -> None:
    one, other = read(
        "00000000:18:00.0, 0, Enabled, Enabled", "00000000:2A:00.0, 1, Enabled, Enabled"
    )
    assert (one.mig, other.mig) == ("1g.18gb 3g.71gb", "no instances")
    wanted = wanted_values(Settings(mig={"3g.71gb": 1, "1g.18gb": 1}))
    assert as_asked(one, wanted)
    assert not as_asked(other, wanted)
    assert not as_asked(one, wanted_values(Settings(mig={})))
    _, old = read()
    assert old.mig == ""
    assert not as_asked(old, wanted_values(Settings(mig={})))


@pytest.mark.parametrize(
    ("modes", "divided", "whole"),
    [
        ("Disabled, Disabled", False, True),
        ("[N/A], [N/A]", False, True),
        ("Disabled, Enabled", True, False),
        ("Enabled, Disabled", False, True),
        ("Enabled, Enabled", False, False),
    ],
)
def test_what_comes_with_a_reset_counts_as_asked(modes: str, divided: bool, whole: bool) -> None:
    _, gpu = read(f"00000000:2A:00.0, 1, {modes}")
    assert as_asked(gpu, wanted_values(Settings(mig={"3g.71gb": 2}))) is divided
    assert as_asked(gpu, wanted_values(Settings(mig={}))) is whole


def test_the_script_is_shell() -> None:
    """As the node's sh reads it, with values in place."""
    text = render("gpu/nodeproof-mig.j2", asked="1g.10gb", profiles="1g.10gb")
    done = subprocess.run(["sh", "-n"], input=text, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0
