"""The catalogue of controls is whole, and refuses what it does not know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import ValidationError

import nodeproof
from nodeproof.catalog.distributions import distributions
from nodeproof.errors import UsageError
from nodeproof.evidence.controls import (
    CATALOGUE,
    Control,
    chosen,
    chosen_standards,
    controls,
    going_along,
    parse,
)
from nodeproof.evidence.standards import commits, items, natural, rules, through
from nodeproof.layers import LAYER_NAMES, LAYERS
from nodeproof.settings.reference import is_check, marked

IDS = {
    **{"SYS": 8, "KRN": 12, "SSH": 8, "CTR": 8, "CON": 3, "GPU": 13, "CUD": 6, "ROC": 7, "INT": 5},
    **{"HRD": 26, "NET": 7, "AUD": 11, "UPD": 7},
}
PREFIXES = {
    **{"system": "SYS", "ssh": "SSH", "containers": "CTR", "confinement": "CON"},
    "kernel": "KRN",
    "gpu": "GPU",
    "cuda": "CUD",
    "rocm": "ROC",
    "intel": "INT",
    "hardening": "HRD",
    "network": "NET",
    "audit": "AUD",
    "updates": "UPD",
}
STANDARDS = (
    *("cis_debian12", "cis_debian13", "cis_ubuntu2204", "cis_ubuntu2404"),
    *("cis_rhel9", "cis_rhel10", "cis_docker"),
    *("stig_rhel9", "stig_ubuntu2204", "stig_ubuntu2404"),
    *("nist_800_53", "nist_800_171", "hipaa", "pci_dss_4", "soc_2", "gdpr_32"),
)


def test_every_id_is_there_once_and_in_order() -> None:
    wanted = [f"NP-{prefix}-{n:02}" for prefix, many in IDS.items() for n in range(1, many + 1)]
    assert list(controls()) == wanted
    assert len(controls()) == 121


@pytest.mark.parametrize("control", controls().values(), ids=lambda control: control.id)
def test_a_control_is_well_formed(control: Control) -> None:
    assert control.layer in {layer.name for layer in LAYERS}
    assert control.id.split("-")[1] == PREFIXES[control.layer]
    assert not control.title.endswith(".")
    assert control.rationale.endswith(".")
    assert not control.needs.endswith(".")
    for standard, identifiers in control.maps.items():
        assert identifiers
        assert len(set(identifiers)) == len(identifiers)
        assert {*identifiers} <= {*known(standard)}, f"{standard} has no such item"


def known(standard: str) -> list[str]:
    """Return every item of a standard, also those that no tool can look at."""
    others = items()[standard].others if standard in items() else ()
    return [*controls().automated(standard), *others]


def test_titles_differ() -> None:
    assert len({control.title for control in controls().values()}) == len(controls())


def test_a_control_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        controls()["NP-SSH-01"].title = "x"


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(KeyError, match="NP-SHS-01: unknown control; nearest is NP-S"):
        controls()["NP-SHS-01"]
    with pytest.raises(KeyError, match="'zzz: unknown control'"):
        controls()["zzz"]
    assert "NP-SHS-01" not in controls()
    assert controls().get("NP-SHS-01") is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('maps.unheard_of = ["1"]', "NP-SYS-01: unknown standard unheard_of"),
        ('color = "red"', "Extra inputs"),
        ('title = ""', "at least 1 character"),
        ("level = 3", "Input should be 1 or 2"),
        ('rules = ["no_such_rule"]', "NP-SYS-01: rule no_such_rule is not in standards.json"),
    ],
)
def test_a_wrong_catalogue_is_refused(line: str, message: str) -> None:
    text = CATALOGUE.read_text(encoding="utf-8")
    head, control, rest = text.partition("[controls.NP-SYS-01]\n")
    if line.startswith("title"):
        rest = re.sub(r"(?m)^title = .*$", "", rest, count=1)
    broken = f"{head}{control}{line}\n{rest}"
    with pytest.raises(ValidationError, match=message):
        parse(broken)


# Standards


def test_every_standard_is_there_in_order() -> None:
    assert tuple(controls().standards) == STANDARDS


@pytest.mark.parametrize("standard", STANDARDS)
def test_a_standard_has_items_a_source_and_a_control(standard: str) -> None:
    one = controls().standards[standard]
    assert controls().serving(standard), "no control serves it"
    assert len({*known(standard)}) == len(known(standard))
    assert one.through or items()[standard].source
    assert not one.distribution or one.distribution in distributions()
    if one.through:
        assert one.note, "it is read by us, so it says how"
    elif version := items()[standard].version:
        assert version.lower() in one.title.lower()


def test_commits_are_named_in_full() -> None:
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits().values())
    assert {items()[key].source.split()[0] for key in items()} == {*commits()}


def test_every_rule_is_named_by_a_control_and_serves_something() -> None:
    named = {rule for control in controls().values() for rule in control.rules}
    assert named == {*rules()}, "make standards.json anew: tools/standards.py"
    assert all(rules().values())
    for served in rules().values():
        assert all({*ids} <= {*known(standard)} for standard, ids in served.items())


def test_rules_and_own_maps_come_together() -> None:
    clock, root = controls()["NP-SYS-03"].maps, controls()["NP-SSH-01"].maps
    assert clock["cis_debian13"] == ("2.3.1.1", "2.3.3.1", "2.3.3.3")
    assert "SC-45(1)" in clock["nist_800_53"]
    assert root["cis_debian13"] == ("5.1.21",)
    assert root["stig_rhel9"] == ("RHEL-09-255045",)
    assert root["gdpr_32"] == ("32(1)(b)",)
    assert list(root) == [key for key in STANDARDS if key in root]


def test_a_table_is_read_by_controls_and_by_families() -> None:
    table = {"a": ["SC-8"], "b": ["SC"], "c": ["SC-8(1)"], "d": ["AC"]}
    assert through(table, ["SC-8(1)"]) == ("a", "b", "c")
    assert through(table, ["SC-80"]) == ("b",)
    assert through(table, []) == ()


def test_items_are_sorted_as_people_count() -> None:
    assert sorted(["1.10", "1.9", "AC-2(10)", "AC-2(9)"], key=natural) == [
        *("AC-2(9)", "AC-2(10)", "1.9", "1.10")
    ]


def test_chosen_standards_are_in_order_and_known() -> None:
    assert chosen_standards(["hipaa", "cis_debian13", "hipaa"]) == ("cis_debian13", "hipaa")
    with pytest.raises(UsageError, match="--standard cis_debian14: no such standard") as raised:
        chosen_standards(["cis_debian14"])
    assert raised.value.hint == "did you mean cis_debian13?"
    with pytest.raises(UsageError) as raised:
        chosen_standards(["zzz"])
    assert raised.value.hint is not None
    assert "cis_debian12, " in raised.value.hint


# What proves it


def proven() -> set[str]:
    """Return the controls that some check names."""
    return {
        control
        for layer in LAYERS
        for module in layer.checks
        for function in vars(import_module(module)).values()
        if callable(function) and hasattr(function, "__name__") and is_check(function)
        for control in marked(function)
    }


def test_every_control_has_a_check() -> None:
    assert {*controls()} - proven() == set()


# What `revert --control` takes back


def names_of_changes(layer: str) -> Iterator[str]:
    """Yield the names that the layer's deploy gives, with ``*`` for what it fills in."""
    folder = Path(nodeproof.__file__).parent / "layers" / layer
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*deploy.py"))]
    for node in (one for text in texts for one in ast.walk(ast.parse(text))):
        if isinstance(node, ast.keyword) and node.arg == "name":
            if isinstance(node.value, ast.Constant):
                yield str(node.value.value)
            elif isinstance(node.value, ast.JoinedStr):
                parts = node.value.values
                yield "".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in parts)


@pytest.mark.parametrize("control", controls().values(), ids=lambda control: control.id)
def test_its_changes_are_some_that_the_layer_makes(control: Control) -> None:
    made = list(names_of_changes(control.layer))
    assert made
    for pattern in control.changes:
        assert any(fnmatchcase(name, pattern) for name in made), pattern


@pytest.mark.parametrize("layer", LAYER_NAMES)
def test_no_change_of_a_layer_is_forgotten(layer: str) -> None:
    owned = [control for control in controls().values() if control.layer == layer]
    for name in names_of_changes(layer):
        assert any(control.is_met_by(name) for control in owned), name


def test_a_control_without_changes_says_why() -> None:
    text = CATALOGUE.read_text(encoding="utf-8")
    with pytest.raises(ValidationError, match="NP-CON-01: give changes, or say"):
        parse(re.sub(r"no_changes = .*a kernel has.*", "", text))
    with pytest.raises(UsageError, match="NP-CON-01: has no changes of its own: a kernel"):
        chosen("NP-CON-01")


def test_controls_that_go_along_are_of_the_same_layer() -> None:
    assert going_along("NP-SSH-01", ["Write the sshd drop-in"]) == [
        f"NP-SSH-{number:02}" for number in range(2, 7)
    ]
    assert going_along("NP-SSH-01", []) == []
    assert going_along("NP-SYS-02", ["Set the time zone"]) == []
