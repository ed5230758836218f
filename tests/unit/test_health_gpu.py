"""What is judged of GPUs: recorded machines, and each with one thing broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gpu_states import A100, PRO_6000, T4, sentences, state
from tests.recorded import edited, recorded

from nodeproof.catalog.gpu_health import GpuHealth, gpu_health
from nodeproof.facts.gpu_state import GpuStateData
from nodeproof.facts.nvidia_smi import parse_smi
from nodeproof.facts.nvlink import Links
from nodeproof.facts.smi import Ecc, Pcie, Repair, SmiGpu, Thermals
from nodeproof.health.finding import Topic, Verdict, failed
from nodeproof.health.gpu import judge
from nodeproof.health.nvidia import Allowed

UUID = "GPU-9e8682f0-0d01-e118-3a86-008e972bfe2a"


# Recorded machines as they were


def test_a100_with_mig_is_healthy() -> None:
    found = judge(state(recorded(A100)))
    assert sentences(found) == []
    (rows, links) = sentences(found, Verdict.SKIPPED)
    assert "row remapping is not told while MIG instances are active" in rows
    assert "NVLinks is not asked for: a single GPU without NVSwitches" in links


def test_t4_of_a_cloud_has_half_a_slot() -> None:
    """It really is x8 there; whoever rents it says so."""
    (reason,) = sentences(judge(state(recorded(T4))))
    assert reason.startswith(
        "GPU 0000:00:1e.0 (GPU-d37e67a5-91dd-3774-a5cb-99096249601a): PCIe width is x8, "
        "allowed is x16; reseat the card"
    )
    assert sentences(judge(state(recorded(T4)), allowed=Allowed(pcie_width=8))) == []


def test_a_workstation_card_in_a_slower_slot_without_ecc() -> None:
    slot, ecc = sentences(judge(state(recorded(PRO_6000))))
    assert "PCIe generation is 4 at most in this slot, allowed is 5" in slot
    assert "ECC is off, allowed is on" in ecc
    allowed = Allowed(pcie_generation=4, ecc_off=True)
    assert sentences(judge(state(recorded(PRO_6000)), allowed=allowed)) == []


def test_every_topic_of_a_single_gpu_is_looked_at() -> None:
    topics = {one.topic for one in judge(state(recorded(A100)))}
    assert topics == {*Topic} - {Topic.FABRIC, Topic.BURN_IN}


# One thing broken


@pytest.mark.parametrize(
    ("name", "was", "becomes", "topic", "words"),
    [
        (
            A100,
            "<current_link_width>16x<",
            "<current_link_width>8x<",
            *(Topic.PCIE, "PCIe width is x8, allowed is x16"),
        ),
        (
            A100,
            "<current_link_gen>4<",
            "<current_link_gen>1<",
            *(Topic.PCIE, "PCIe generation is 1, allowed is 4"),
        ),
        (
            A100,
            "<max_link_width>16x</max_link_width>\n"
            "                    <current_link_width>16x</current_link_width>",
            "",
            *(Topic.PCIE, "PCIe width is unknown (nvidia-smi gives none)"),
        ),
        (
            PRO_6000,
            "<remapped_row_pending>No<",
            "<remapped_row_pending>Yes<",
            *(Topic.MEMORY_REPAIR, "row remapping is pending, allowed is done; drain the node"),
        ),
        (
            PRO_6000,
            "<remapped_row_failure>No<",
            "<remapped_row_failure>Yes<",
            *(Topic.MEMORY_REPAIR, "row remapping is failed"),
        ),
        (
            PRO_6000,
            "<channel_repair_pending>No<",
            "<channel_repair_pending>Yes<",
            *(Topic.MEMORY_REPAIR, "memory repair is pending"),
        ),
        (
            PRO_6000,
            "<remapped_row_pending>No<",
            "<remapped_row_pending>N/A<",
            *(Topic.MEMORY_REPAIR, "unknown (Blackwell has it, but nvidia-smi says nothing)"),
        ),
        (
            T4,
            "<pending_retirement>No<",
            "<pending_retirement>Yes<",
            *(Topic.MEMORY_REPAIR, "page retirement is pending"),
        ),
        (
            A100,
            "<reset_required>No<",
            "<reset_required>Yes<",
            *(Topic.RECOVERY, "do what the driver asks for: Reset"),
        ),
        (
            PRO_6000,
            ">None</gpu_recovery_action",
            ">Reboot</gpu_recovery_action",
            *(Topic.RECOVERY, "recovery action is Reboot, allowed is none"),
        ),
        (
            A100,
            "hw_thermal_slowdown>Not Active<",
            "hw_thermal_slowdown>Active<",
            *(Topic.CLOCKS, "what slows its clocks is hw_thermal_slowdown"),
        ),
        (
            A100,
            "hw_power_brake_slowdown>Not Active<",
            "hw_power_brake_slowdown>Active<",
            *(Topic.CLOCKS, "hw_power_brake_slowdown"),
        ),
        (
            A100,
            "<gpu_temp>27 C<",
            "<gpu_temp>89 C<",
            *(Topic.TEMPERATURE, "temperature is 89 °C, allowed is below 89 °C"),
        ),
        (
            A100,
            "<memory_temp>44 C<",
            "<memory_temp>97 C<",
            *(Topic.TEMPERATURE, "memory temperature is 97 °C"),
        ),
        (A100, "<gpu_temp>27 C<", "<gpu_temp>N/A<", Topic.TEMPERATURE, "temperature is unknown"),
        (
            A100,
            "<current_ecc>Enabled<",
            "<current_ecc>Disabled<",
            *(Topic.ECC, "ECC is off, allowed is on"),
        ),
        (A100, "<pending_ecc>Enabled<", "<pending_ecc>Disabled<", Topic.ECC, "after the next"),
        (
            A100,
            "<current_ecc>Enabled<",
            "<current_ecc>Unknown Error<",
            *(Topic.PRESENT, "ecc_mode/current_ecc is unknown (nvidia-smi says 'Unknown Error')"),
        ),
    ],
)
def test_one_thing_broken(name: str, was: str, becomes: str, topic: Topic, words: str) -> None:
    before = {one.sentence for one in failed(judge(state(recorded(name))))}
    findings = judge(state(edited(name, was, becomes)))
    new = [one for one in failed(findings) if one.sentence not in before]
    assert [one.topic for one in new] == [topic]
    assert words in new[0].sentence


GOOD = SmiGpu(
    address="0000:18:00.0",
    uuid=UUID,
    name="NVIDIA H200",
    architecture="Hopper",
    device_id="2335",
    performance_state="P0",
    recovery="",
    fabric_state="Completed",
    fabric_status="Success",
    pcie=Pcie(5, 5, 5, 16, 16, 0),
    ecc=Ecc(on=True, pending=True, volatile_uncorrected=0, aggregate_uncorrected=0),
    repair=Repair(rows_corrected=0, rows_uncorrected=0, rows_pending=False, rows_failed=False),
    thermals=Thermals(gpu=33, gpu_margin=54),
)
"""A reading without fault, in our own words: no recorded XML of an H200 was at hand."""


def hopper(gpu: SmiGpu = GOOD, **more: Any) -> GpuStateData:
    smi = replace(parse_smi(recorded(T4)), driver="580.95.05", gpus=(gpu,))
    versions = dict.fromkeys(("loaded", "library", "fabric-manager"), ("580.95.05",))
    return replace(
        GpuStateData(
            nvidia=(gpu.address,),
            smi=smi,
            links=(Links(UUID, (26.562,) * 18),),
            events=(),
            log_source="dmesg",
            versions=versions,
            fabric_manager="active",
        ),
        **more,
    )


def test_hopper_without_fault() -> None:
    found = judge(hopper(), nvswitches=4)
    assert {one.verdict for one in found} == {Verdict.OK}
    assert {one.topic for one in found} == {*Topic} - {Topic.BURN_IN}


@pytest.mark.parametrize(
    ("more", "topic", "words"),
    [
        (
            {"fabric_manager": "failed"},
            *(Topic.FABRIC, "the node: fabric manager is failed, allowed is active"),
        ),
        ({"fabric_manager": ""}, Topic.FABRIC, "fabric manager is unknown"),
        (
            {"versions": {"loaded": ("580.95.05",), "library": ("580.95.05",)}},
            *(Topic.VERSIONS, "driver version of the fabric manager is unknown"),
        ),
        (
            {
                "versions": {
                    "loaded": ("580.95.05",),
                    "library": ("580.95.05",),
                    "fabric-manager": ("580.82.07",),
                }
            },
            *(
                Topic.VERSIONS,
                "driver version of fabric-manager is 580.82.07, allowed is 580.95.05; install",
            ),
        ),
        (
            {"links": (Links(UUID, (26.562,) * 17 + (None,)),)},
            *(Topic.NVLINK, "NVLinks is 17 active, allowed is 18 at 26.562 GB/s"),
        ),
        (
            {"links": (Links(UUID, (26.562,) * 17 + (1.562,)),)},
            *(Topic.NVLINK, "18 active, link 17 at 1.562 GB/s"),
        ),
        ({"links": ()}, Topic.NVLINK, "NVLinks is unknown"),
        (
            {"links": (), "problems": {"nvlink": "no answer in 60 s"}},
            *(Topic.NVLINK, "NVLinks is unknown (no answer in 60 s)"),
        ),
        ({"events": None}, Topic.LOG, "the kernel's log is unknown (neither journal nor dmesg)"),
        (
            {"nvidia": ("0000:18:00.0", "0000:2a:00.0")},
            *(Topic.PRESENT, "GPU 0000:2a:00.0: its driver is not in charge of it"),
        ),
    ],
)
def test_one_thing_broken_beside_the_gpu(more: dict[str, Any], topic: Topic, words: str) -> None:
    (reason,) = failed(judge(hopper(**more), nvswitches=4))
    assert reason.topic is topic
    assert words in reason.sentence


@pytest.mark.parametrize(
    ("more", "topic", "words"),
    [
        ({"fabric_state": "In Progress"}, Topic.FABRIC, "In Progress, Success, allowed is Comp"),
        ({"fabric_state": None}, Topic.FABRIC, "fabric state is unknown"),
        (
            {"fabric_troubles": ("bandwidth: Degraded",)},
            *(Topic.FABRIC, "fabric health is bandwidth: Degraded"),
        ),
        (
            {"ecc": Ecc(on=True, volatile_uncorrected=3)},
            *(Topic.ECC, "uncorrected errors since the driver was loaded is 3, allowed is 0"),
        ),
        ({"ecc": Ecc(on=True)}, Topic.ECC, "is unknown (ECC is on, but nvidia-smi gives no"),
        (
            {"ecc": Ecc(on=True, volatile_uncorrected=0, sram_threshold_exceeded=True)},
            *(Topic.ECC, "SRAM error threshold is exceeded"),
        ),
        ({"repair": Repair()}, Topic.MEMORY_REPAIR, "unknown (Hopper has it, but"),
        (
            {"repair": Repair(rows_pending=False, unrepairable=True)},
            *(Topic.MEMORY_REPAIR, "memory is unrepairable"),
        ),
        ({"thermals": Thermals(gpu=87, gpu_margin=0)}, Topic.TEMPERATURE, "is 87 °C, allowed is b"),
        ({"thermals": Thermals(gpu=40)}, Topic.TEMPERATURE, "unknown (40 °C, but no limit is"),
        ({"pcie": Pcie(5, 5, 5, 8, 16)}, Topic.PCIE, "PCIe width is x8, allowed is x16"),
    ],
)
def test_one_thing_broken_in_the_gpu(more: dict[str, Any], topic: Topic, words: str) -> None:
    (reason,) = failed(judge(hopper(replace(GOOD, **more)), nvswitches=4))
    assert reason.topic is topic
    assert reason.subject == f"GPU 0000:18:00.0 ({UUID})"
    assert words in reason.sentence


def test_what_is_only_noted() -> None:
    gpu = replace(
        GOOD,
        slowed_by=("sw_power_cap", "hw_slowdown", "gpu_idle"),
        slowdown_us={"hw_therm_slowdown": 2_500_000, "sw_power_cap": 9},
        ecc=Ecc(on=True, volatile_uncorrected=0, aggregate_uncorrected=1),
        repair=Repair(rows_pending=False, banks={"none": 2}),
        thermals=Thermals(gpu=33, gpu_margin=54, power_limit=500, power_limit_default=700),
    )
    found = judge(hopper(gpu), nvswitches=4)
    assert failed(found) == []
    assert [one.partition("): ")[2] for one in sentences(found, Verdict.NOTED)] == [
        "uncorrected errors in its whole life is 1",
        "room for row remapping is none left in 2 banks",
        "what slows its clocks is hw_slowdown",
        "time slowed by hw_therm_slowdown is 2.5 s since the driver was loaded",
        "power limit is 500 W, allowed is 700 W",
    ]


def test_an_idle_link_may_be_slow() -> None:
    idle = replace(GOOD, performance_state="P8", pcie=Pcie(1, 5, 5, 16, 16))
    assert failed(judge(hopper(idle), nvswitches=4)) == []


# Versions


@pytest.mark.parametrize(
    "who", ["on-disk", "nvidia-smi", "library", "fabric-manager", "container-toolkit", "cdi"]
)
def test_whoever_speaks_of_another_driver_is_named(who: str) -> None:
    versions = {"loaded": ("580.95.05",), "library": ("580.95.05",)}
    node = state(recorded(A100), versions={**versions, who: ("570.211.01",)})
    (reason,) = failed(judge(node), Topic.VERSIONS)
    assert f"driver version of {who} is 570.211.01, allowed is 580.95.05" in reason.sentence
    assert reason.action


def test_a_container_toolkit_that_fails_is_no_missing_one() -> None:
    problem = {"toolkit": "exit code 1: nvidia-container-cli: initialization error"}
    (reason,) = failed(judge(state(recorded(A100), problems=problem)))
    assert "driver version of container-toolkit is unknown (exit code 1" in reason.sentence
    missing = {"toolkit": "nvidia-container-cli is not installed"}
    assert failed(judge(state(recorded(A100), problems=missing))) == []


def test_no_driver_at_all() -> None:
    node = GpuStateData(nvidia=("0000:18:00.0",), events=(), problems={"smi": "not installed"})
    found = {one.topic: one.sentence for one in failed(judge(node))}
    assert found == {
        Topic.PRESENT: "the node: what nvidia-smi says is unknown (not installed); mend the driver",
        Topic.VERSIONS: "the node: version of the loaded driver is unknown (no module is loaded); "
        "find out why",
    }


def test_no_gpu_at_all() -> None:
    (reason,) = failed(judge(GpuStateData()))
    assert reason.sentence.startswith("the node: number of GPUs on the PCI bus is 0, allowed is at")


def test_smi_that_ended_with_an_error_is_not_trusted() -> None:
    node = state(recorded(A100), problems={"smi": "exit code 14: infoROM is corrupted"})
    (reason,) = failed(judge(node))
    assert "what nvidia-smi says of all GPUs is unknown (exit code 14" in reason.sentence


# The table


def test_nobody_could_look_is_never_good() -> None:
    """A GPU of which nothing at all is told fails in every topic that it has."""
    gpu = SmiGpu(address="0000:18:00.0", uuid=UUID, architecture="Hopper", device_id="2335")
    node = hopper(gpu, links=(), events=None, versions={}, fabric_manager="")
    found = judge(node, nvswitches=4)
    assert {one.topic for one in failed(found)} >= {
        *(Topic.PCIE, Topic.MEMORY_REPAIR, Topic.TEMPERATURE, Topic.NVLINK, Topic.FABRIC),
        *(Topic.LOG, Topic.VERSIONS),
    }


def test_table_has_sources_and_no_code_twice() -> None:
    table = gpu_health()
    codes = [code for one in table.xids.values() for code in one.codes]
    assert len(codes) == len(set(codes)) > 90
    assert set(table.xid_meanings) <= set(codes), "a meaning of a code in no class"
    for source in table.sources.values():
        assert source.url.startswith("https://")


def test_products() -> None:
    table = gpu_health()
    h200 = table.product("2335")
    assert h200 is not None
    assert (h200.nvlinks, h200.pcie_generation, h200.memory_gb_s) == (18, 5, 4800)
    assert table.product("ffff") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"xids": {"a": {"codes": [79, 79], "fails": True}}}, "Xid 79: stands in two"),
        ({"xids": {"a": {"codes": [79], "fails": True}}}, "xids.support: is missing"),
        ({"sources": {}}, "is not in \\[sources\\]"),
        ({"products": {"x": {"devices": ["22 35"]}}}, "pattern"),
        (
            {"allowances": {"memory": 1.2, "matrix": 1, "vector": 1, "link": 1}},
            "less than or equal",
        ),
    ],
)
def test_a_wrong_table_is_refused(change: dict[str, Any], words: str) -> None:
    whole = gpu_health().model_dump(mode="json")
    for key, value in change.items():
        if key in ("xids", "products"):
            for one in value.values():
                one |= {"title": "x"} if key == "products" else {"action": "x"}
                one |= {"sources": ["pci-ids"]}
        whole[key] = value
    with pytest.raises(ValueError, match=words):
        GpuHealth.model_validate(whole)
