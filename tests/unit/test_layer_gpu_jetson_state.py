"""The state of a Jetson: what is read of power mode, clocks and JetPack, and what is proven.

What a Jetson says is what owners published: of a Jetson Nano before and after `jetson_clocks`, and
of an Orin Nano with Jetson Linux 36.4.3.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.layers.gpu import jetson_checks as checks
from nodeproof.layers.gpu.jetson import Jetson, JetsonData
from nodeproof.layers.gpu.settings import Jetson as Asked

NANO = """SOC family:tegra210  Machine:NVIDIA Jetson Nano Developer Kit
Online CPUs: 0-1
CPU Cluster Switching: Disabled
cpu0: Online=1 Governor=schedutil MinFreq=921600 MaxFreq=921600 CurrentFreq=921600 IdleStates: WFI=1
cpu1: Online=1 Governor=schedutil MinFreq=921600 MaxFreq=921600 CurrentFreq=921600 IdleStates: WFI=1
cpu2: Online=0 Governor=schedutil MinFreq=921600 MaxFreq=921600 CurrentFreq=921600 IdleStates: WFI=1
GPU MinFreq=76800000 MaxFreq=614400000 CurrentFreq=460800000
EMC MinFreq=204000000 MaxFreq=1600000000 CurrentFreq=1600000000 FreqOverride=0
Fan: speed=0
NV Power Mode: 5W
"""
HELD = NANO.replace("GPU MinFreq=76800000", "GPU MinFreq=614400000")
ORIN = """Online CPUs: 0-5, Offline CPUs:
cpu0:  Governor=schedutil MinFreq=729600 MaxFreq=1344000 CurrentFreq=960000 IdleStates: WFI=1 c7=1
GPU MinFreq=306000000 MaxFreq=918000000 CurrentFreq=306000000
Active GPU TPCs: 4
NV Power Mode: 25W
"""
MODE = "NV Power Mode: 25W\n1\n"
RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025"
)
JETSON = Accelerators(platform="jetson", l4t="36.4.3")


def read(folder: Path, **programs: str) -> JetsonData:
    """Return what the fact's script makes of what the programs say."""
    for name, said in programs.items():
        (folder / f"{name}.txt").write_text(said)
        (folder / name).write_text(f'#!/bin/sh\ncat "{folder}/{name}.txt"\n')
        (folder / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", Jetson().command()],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return Jetson().process(done.stdout.splitlines())


# What is read


def test_power_mode_and_clocks(tmp_path: Path) -> None:
    found = read(tmp_path, nvpmodel=f"NVPM WARN: fan mode is not set!\n{MODE}", jetson_clocks=ORIN)
    assert (found.power_mode, found.mode_id) == ("25W", 1)
    assert found.clocks == {"cpu0": (729600, 1344000), "GPU": (306000000, 918000000)}
    assert found.free == ["cpu0", "GPU"]


def test_clocks_of_cores_that_are_off_do_not_count(tmp_path: Path) -> None:
    found = read(tmp_path, nvpmodel=MODE, jetson_clocks=NANO)
    assert ({*found.clocks}, found.free) == ({"cpu0", "cpu1", "GPU"}, ["GPU"])
    assert read(tmp_path, nvpmodel=MODE, jetson_clocks=HELD).free == []


CONF = """# FORMAT: < POWER_MODEL ID=id_num NAME=mode_name >
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=0 >
"""


def test_modes_and_what_the_next_boot_sets(tmp_path: Path) -> None:
    (tmp_path / "nvpmodel.conf").write_text(CONF)
    (tmp_path / "status").write_text("pmode:0002 fmode:fanNull")
    command = Jetson().command()
    for path in ("/etc/nvpmodel.conf", "/var/lib/nvpmodel/status"):
        command = command.replace(path, str(tmp_path / Path(path).name))
    done = subprocess.run(["dash", "-c", command], capture_output=True, text=True, check=True)
    found = Jetson().process(done.stdout.splitlines())
    assert (found.modes, found.saved) == ({"15W": 0, "MAXN_SUPER": 2}, 2)


def test_machine_without_these_programs(tmp_path: Path) -> None:
    assert read(tmp_path) == JetsonData()


@pytest.mark.parametrize(
    ("line", "release"),
    [
        (RELEASE, "36.4.3"),
        (RELEASE.replace("4.3", "4.0"), "36.4"),
        (RELEASE.replace("R36", "R39").replace("4.3", "2.0"), "39.2"),
        ("something else", ""),
    ],
)
def test_jetson_linux(line: str, release: str) -> None:
    assert Gpus().process([f"l4t={line}"]).l4t == release


# What is proven


class Host:
    """A node that has a package in a state, and a unit in one."""

    def __init__(self, package: str = "", unit: str = "ActiveState=active\nUnitFileState=enabled"):
        self.package, self.unit = package, unit

    def run(self, command: str, *arguments: str) -> Any:
        return type("Done", (), {"stdout": self.package, "stderr": "", "rc": 0})

    def check_output(self, command: str, *arguments: str) -> str:
        return self.unit


ORIN_SUPER = {"15W": 0, "25W": 1, "MAXN_SUPER": 2, "7W": 3}
ALL = Asked(packages="all")


def test_checks_pass_on_what_is_right(tmp_path: Path) -> None:
    held = read(tmp_path, nvpmodel=MODE, jetson_clocks=HELD)
    checks.test_jetpack_is_the_one_asked_for(Asked(jetpack="6.2"), JETSON)
    checks.test_packages_of_jetpack(Host("hold installed 6.2+b77"), ALL, JETSON)
    checks.test_power_mode_as_asked(Asked(power_mode="25W"), held)
    checks.test_clocks_at_their_highest(Asked(highest_clocks=True), held)
    checks.test_clocks_held_at_boot(Host(), Asked(highest_clocks=True))


def test_checks_fail_on_what_is_not(tmp_path: Path) -> None:
    free = read(tmp_path, nvpmodel=MODE, jetson_clocks=NANO)
    for package, said in (
        ("hold installed 6.2.1+b38", r"nvidia-jetpack is 6\.2\.1\+b38, not"),
        ("install installed 6.2+b77", "nvidia-jetpack is not on hold"),
        ("", "nvidia-jetpack is none"),
    ):
        with pytest.raises(AssertionError, match=said):
            checks.test_packages_of_jetpack(Host(package), ALL, JETSON)
    with pytest.raises(AssertionError, match=r"Jetson Linux is 36\.4\.3, not 36\.5"):
        checks.test_jetpack_is_the_one_asked_for(Asked(jetpack="6.2.2"), JETSON)
    with pytest.raises(AssertionError, match=r"JetPack 9\.9 is not in the catalog"):
        checks.test_jetpack_is_the_one_asked_for(Asked(jetpack="9.9"), JETSON)
    with pytest.raises(AssertionError, match="this is no Jetson"):
        checks.test_jetpack_is_the_one_asked_for(Asked(jetpack="6.2"), Accelerators())
    with pytest.raises(AssertionError, match="the power mode is 25W"):
        checks.test_power_mode_as_asked(Asked(power_mode="MAXN_SUPER"), free)
    with pytest.raises(AssertionError, match="the next boot sets another mode, that of id 2"):
        checks.test_power_mode_as_asked(
            Asked(power_mode="25W"), JetsonData("25W", 1, ORIN_SUPER, 2)
        )
    with pytest.raises(AssertionError, match="names no mode"):
        checks.test_power_mode_as_asked(Asked(power_mode="MAXN"), JetsonData())
    with pytest.raises(AssertionError, match="not at their highest: GPU; run jetson_clocks"):
        checks.test_clocks_at_their_highest(Asked(highest_clocks=True), free)
    with pytest.raises(AssertionError, match="names no clock of the GPU"):
        checks.test_clocks_at_their_highest(Asked(highest_clocks=True), JetsonData())
    off = "ActiveState=inactive\nUnitFileState="
    with pytest.raises(AssertionError, match="does not start at boot"):
        checks.test_clocks_held_at_boot(Host(unit=off), Asked(highest_clocks=True))
