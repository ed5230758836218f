"""What is read out of nvidia-smi's XML, NVLink status, kernel logs and amd-smi's JSON."""

from __future__ import annotations

import pytest
from tests.recorded import HERE, edited, recorded

from nodeproof.facts.amd_smi import parse_amd
from nodeproof.facts.kernel_log import parse_events
from nodeproof.facts.nvidia_smi import bus_address, parse_smi
from nodeproof.facts.nvlink import parse_links
from nodeproof.facts.smi import Ecc, Pcie, SmiGpu

A100, T4 = "nvidia/a100-sxm4-80gb-mig.xml", "nvidia/t4.xml"
PRO_6000 = "nvidia/rtx-pro-6000-max-q.xml"


def only(text: str) -> SmiGpu:
    (gpu,) = parse_smi(text).gpus
    return gpu


def test_every_recorded_output_has_its_source() -> None:
    said = (HERE / "SOURCES.md").read_text(encoding="utf-8")
    for path in HERE.glob("*/*"):
        # A program that records is ours.
        if "__pycache__" not in path.parts and path.suffix != ".sh":
            assert f"`{path.relative_to(HERE)}`" in said, f"{path.name}: nobody says whose it is"


@pytest.mark.parametrize(
    ("name", "driver", "cuda"),
    [(A100, "535.54.03", "12.2"), (T4, "515.105.01", "11.7"), (PRO_6000, "590.44.01", "13.1")],
)
def test_versions(name: str, driver: str, cuda: str) -> None:
    smi = parse_smi(recorded(name))
    assert (smi.driver, smi.cuda) == (driver, cuda)


def test_a100_with_mig() -> None:
    gpu = only(recorded(A100))
    assert (gpu.address, gpu.device_id, gpu.architecture) == ("0000:01:00.0", "20b2", "Ampere")
    assert gpu.uuid == "GPU-513536b6-7d19-9063-b049-1e69664bb298"
    assert (gpu.mig, gpu.mig_devices, gpu.recovery) == (True, 2, "")
    assert gpu.pcie == Pcie(4, 4, 4, 16, 16, 0)
    assert gpu.ecc == Ecc(
        on=True,
        pending=True,
        volatile_corrected=0,
        volatile_uncorrected=0,
        aggregate_corrected=0,
        aggregate_uncorrected=0,
    )
    assert gpu.repair.rows_pending is None, "MIG is on, so nobody can know"
    assert (gpu.thermals.gpu, gpu.thermals.gpu_slowdown, gpu.thermals.memory_max) == (27, 89, 95)
    assert gpu.thermals.power == 67.03


def test_t4_of_the_older_schema() -> None:
    """It says `throttle` where later ones say `event`, and knows pages but no rows."""
    gpu = only(recorded(T4))
    assert (gpu.mig, gpu.recovery, gpu.virtualization) == (None, None, "Pass-Through")
    assert (gpu.pcie.width, gpu.pcie.width_max, gpu.pcie.generation_max_device) == (8, 16, None)
    repair = gpu.repair
    assert (repair.pages_single, repair.pages_double, repair.pages_pending) == (0, 0, False)
    assert repair.rows_pending is None
    assert (gpu.thermals.power_limit, gpu.thermals.power_limit_default) == (70.0, 70.0)
    assert gpu.slowed_by == ()


def test_blackwell_of_the_newest_schema() -> None:
    gpu = only(recorded(PRO_6000))
    assert gpu.ecc == Ecc(on=False, pending=False), "N/A is not 0"
    assert (gpu.repair.rows_pending, gpu.repair.rows_failed) == (False, False)
    assert gpu.repair.banks == {"max": 512, "high": 0, "partial": 0, "low": 0, "none": 0}
    assert gpu.repair.repair_pending is False
    assert gpu.repair.unrepairable is None
    assert (gpu.recovery, gpu.performance_state) == ("", "P8")
    assert (gpu.thermals.gpu_margin, gpu.thermals.gpu_slowdown) == (68, None)
    assert gpu.slowdown_us["sw_power_cap"] == 25483012608
    assert (gpu.fabric_state, gpu.fabric_troubles) == (None, ())


@pytest.mark.parametrize(
    ("name", "was", "becomes", "path", "value"),
    [
        (T4, ">8x<", ">16x<", "pcie.width", 16),
        (A100, "<gpu_temp>27 C<", "<gpu_temp>N/A<", "thermals.gpu", None),
        (A100, "<persistence_mode>Disabled<", "<persistence_mode>Enabled<", "persistence", True),
        (
            PRO_6000,
            ">None</gpu_recovery_action",
            ">Reset</gpu_recovery_action",
            "recovery",
            "Reset",
        ),
        (
            PRO_6000,
            "<remapped_row_pending>No<",
            "<remapped_row_pending>Yes<",
            "repair.rows_pending",
            True,
        ),
        (T4, "<pending_retirement>No<", "<pending_retirement>Yes<", "repair.pages_pending", True),
        (
            A100,
            "<reset_required>No<",
            "<reset_required>Yes<",
            "recovery",
            "Reset",
        ),
        (
            T4,
            "hw_thermal_slowdown>Not Active<",
            "hw_thermal_slowdown>Active<",
            "slowed_by",
            ("hw_thermal_slowdown",),
        ),
    ],
)
def test_one_edit_shows(name: str, was: str, becomes: str, path: str, value: object) -> None:
    found: object = only(edited(name, was, becomes))
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_trouble_is_no_missing_value() -> None:
    gpu = only(edited(A100, "<current_ecc>Enabled<", "<current_ecc>Unknown Error<"))
    assert gpu.ecc.on is None
    assert gpu.unreadable == ("ecc_mode/current_ecc: Unknown Error",)


def test_errors_are_added_up_over_sram_and_dram() -> None:
    text = edited(
        "nvidia/t4.xml",
        "<volatile>\n                <sram_correctable>0</sram_correctable>\n"
        "                <sram_uncorrectable>0<",
        "<volatile>\n                <sram_correctable>0</sram_correctable>\n"
        "                <sram_uncorrectable>2<",
    )
    assert only(text).ecc.volatile_uncorrected == 2


def test_the_oldest_schema_counts_bits() -> None:
    """Documented by NVIDIA for the drivers before 430: single_bit and double_bit with totals."""
    text = """<?xml version="1.0" ?><nvidia_smi_log><gpu id="00000000:3B:00.0"><ecc_errors>
    <volatile><single_bit><total>3</total></single_bit><double_bit><device_memory>1</device_memory>
    <total>1</total></double_bit></volatile></ecc_errors></gpu></nvidia_smi_log>"""
    ecc = only(text).ecc
    assert (ecc.volatile_corrected, ecc.volatile_uncorrected) == (3, 1)
    assert ecc.aggregate_uncorrected is None


def test_what_comes_before_the_xml_is_passed_over() -> None:
    assert parse_smi("WARNING: infoROM is corrupted\n" + recorded(T4)).attached == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "said no XML but 'nothing'"),
        ("No devices were found", "No devices were found"),
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "couldn't communicate",
        ),
        ("<other/>", "its XML is a 'other'"),
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities"),
        ("<nvidia_smi_log><gpu>", "said no XML"),
    ],
)
def test_other_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_smi(text)


def test_bus_address() -> None:
    assert bus_address("00000000:3B:00.0") == "0000:3b:00.0"
    assert bus_address("00000008:01:00.0") == "0008:01:00.0"


# Kernel log


def test_gsp_timeouts() -> None:
    events = list(parse_events(recorded("nvidia/kernel-xid-119.log").splitlines()))
    assert [(one.code, one.address) for one in events] == [(119, "0000:9b:00")] * 5
    assert events[0].text.startswith("pid=2024380, name=nvidia-smi, Timeout after 6s")


def test_recovery_actions() -> None:
    events = list(parse_events(recorded("nvidia/kernel-gb200-nvlink.log").splitlines()))
    assert [one.code for one in events] == [149, 154, 149, 154, 149, 149, 149, 154, 154]
    assert events[1].recovery == "Drain and Reset"
    assert {one.recovery for one in events if one.code == 149} == {None}


def test_a_log_without_trouble() -> None:
    assert list(parse_events(recorded("nvidia/kernel-nvswitch-opens.log").splitlines())) == []


@pytest.mark.parametrize(
    ("line", "code", "address", "instance"),
    [
        # NVIDIA's own examples, GPU memory error management, table 3.
        (
            "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). "
            "RST: No, D-RST: No",
            *(94, "0000:01:00", 5),
        ),
        ("NVRM: Xid (0000:03:00): 14, Channel 00000001", 14, "0000:03:00", None),
        ("NVRM: Xid (PCI:0000:3f:00): 46", 46, "0000:3f:00", None),
        ("NVRM: Xid (PCI:0000:00:1e.0): 31", 31, "0000:00:1e", None),
    ],
)
def test_xid_forms(line: str, code: int, address: str, instance: int | None) -> None:
    (event,) = parse_events([f"Nov 23 20:00:00 node kernel: {line}"])
    assert (event.code, event.address, event.instance) == (code, address, instance)


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid : 32, pid=2280636",
        "NVRM: Xid (PCI:0000:66:00): abc, pid=2280636",
        "NVRM: GPU at PCI:0000:66:00: GPU-12345678-1234-5678-9abc-def012345678",
        "",
    ],
)
def test_damaged_lines_say_nothing(line: str) -> None:
    assert list(parse_events([line])) == []


def test_switches_and_messages() -> None:
    lines = [
        "nvidia-nvswitch0: SXid (PCI:0000:00:00.0): 11001, Fatal, ingress invalid command",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Non-fatal, Link 46 MC TS crumbstore",
        "NVRM: GPU 0000:2b:00.0: GPU has fallen off the bus.",
        "NVRM: API mismatch: the client has the version 535.247.01, but",
    ]
    fatal, other, lost, mismatch = parse_events(lines)
    assert (fatal.kind, fatal.code, fatal.fatal) == ("sxid", 11001, True)
    assert (other.code, other.fatal) == (28006, False)
    assert (lost.kind, lost.text) == ("message", "GPU 0000:2b:00.0: GPU has fallen off the bus.")
    assert mismatch.text.startswith("API mismatch")


# NVLink


def test_links() -> None:
    """18 links at 26.562 GB/s are what NVIDIA's Health Validation expects of an H100."""
    lines = ["GPU 0: NVIDIA H200 (UUID: GPU-9e8682f0-0d01-e118-3a86-008e972bfe2a)"]
    lines += [f"         Link {number}: 26.562 GB/s" for number in range(17)]
    lines += ["         Link 17: <inactive>", "GPU 1: NVIDIA L4 (UUID: GPU-1)"]
    first, second = parse_links(lines)
    assert (len(first.speeds), first.active) == (18, 17)
    assert first.speeds[0] == 26.562
    assert (second.uuid, second.speeds) == ("GPU-1", ())


# AMD

METRIC = """{"gpu": 0, "power": {"throttle_status": "UNTHROTTLED"},
 "temperature": {"edge": {"value": 36, "unit": "C"}, "hotspot": {"value": 37, "unit": "C"},
 "mem": {"value": 32, "unit": "C"}}, "pcie": {"width": 8, "speed": {"value": 16, "unit": "GT/s"},
 "replay_count": "N/A"}, "ecc": {"total_correctable_count": 0, "total_uncorrectable_count": 0,
 "total_deferred_count": 0, "cache_correctable_count": "N/A"}}"""
STATIC = """[{"gpu": 0, "asic": {"market_name": "Navi 23 [Radeon RX 6600/6600 XT"},
 "bus": {"bdf": "0000:0b:00.0", "max_pcie_width": 16, "max_pcie_speed": {"value": 16,
 "unit": "GT/s"}}, "limit": {"slowdown_hotspot_temperature": {"value": 110, "unit": "C"},
 "slowdown_vram_temperature": {"value": 100, "unit": "C"}}, "partition": {"compute_partition":
 "N/A", "memory_partition": "N/A"}, "vram": {"size": {"value": 8176, "unit": "MB"}}}]"""
"""Readings of an RX 6600, from the notes of github.com/luckylinux/supermicro-fan-control."""


@pytest.mark.parametrize("text", [f"[{METRIC}]", f'{{"gpu_data": [{METRIC}]}}'])
def test_amd(text: str) -> None:
    (gpu,) = parse_amd(text, STATIC)
    assert (gpu.address, gpu.width, gpu.width_max, gpu.speed) == ("0000:0b:00.0", 8, 16, 16.0)
    assert (gpu.uncorrected, gpu.replays, gpu.throttled) == (0, None, False)
    assert (gpu.hotspot, gpu.hotspot_slowdown, gpu.memory_slowdown) == (37, 110, 100)
    assert (gpu.vram_mb, gpu.compute_partition) == (8176, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "nothing"), ("ERROR: no GPU", "no GPU"), ('{"gpu": 1}', "no list"), ("[1]", "no list")],
)
def test_amd_refuses_other_text(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_amd(text)
