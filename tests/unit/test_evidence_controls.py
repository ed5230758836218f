"""The catalogue of controls is whole, and refuses what it does not know."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from nodeproof.evidence.controls import CATALOGUE, Control, controls, parse
from nodeproof.layers import LAYERS

IDS = {"SYS": 8, "SSH": 8, "CTR": 6, "CON": 3}
PREFIXES = {"system": "SYS", "ssh": "SSH", "containers": "CTR", "confinement": "CON"}
IDENTIFIERS = {
    "cis_debian12": r"\d+(\.\d+)+",
    "cis_debian13": r"\d+(\.\d+)+",
    "cis_docker": r"\d+(\.\d+)+",
    "nist_800_53": r"[A-Z]{2}-\d+(\(\d+\)|\([a-z]\))*",
}


def test_every_id_is_there_once_and_in_order() -> None:
    wanted = [f"NP-{prefix}-{n:02}" for prefix, many in IDS.items() for n in range(1, many + 1)]
    assert list(controls()) == wanted
    assert len(controls()) == 25


@pytest.mark.parametrize("control", controls().values(), ids=lambda control: control.id)
def test_a_control_is_well_formed(control: Control) -> None:
    assert control.layer in {layer.name for layer in LAYERS}
    assert control.id.split("-")[1] == PREFIXES[control.layer]
    assert not control.title.endswith(".")
    assert control.rationale.endswith(".")
    for standard, identifiers in control.maps.items():
        assert identifiers
        assert len(set(identifiers)) == len(identifiers)
        for identifier in identifiers:
            assert re.fullmatch(IDENTIFIERS[standard], identifier)


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
    ],
)
def test_a_wrong_catalogue_is_refused(line: str, message: str) -> None:
    text = CATALOGUE.read_text(encoding="utf-8")
    kept = re.sub(r"(?m)^title = .*$", "", text, count=1) if line.startswith("title") else text
    broken = kept.replace("[controls.NP-SYS-01]\n", f"[controls.NP-SYS-01]\n{line}\n")
    with pytest.raises(ValidationError, match=message):
        parse(broken)
