"""The catalogue of controls is whole, and refuses what it does not know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from pydantic import ValidationError

import nodeproof
from nodeproof.errors import UsageError
from nodeproof.evidence.controls import CATALOGUE, Control, chosen, controls, going_along, parse
from nodeproof.layers import LAYER_NAMES, LAYERS

IDS = {"SYS": 8, "SSH": 8, "CTR": 8, "CON": 3, "GPU": 13, "CUD": 6, "ROC": 7, "INT": 5}
PREFIXES = {
    **{"system": "SYS", "ssh": "SSH", "containers": "CTR", "confinement": "CON"},
    "gpu": "GPU",
    "cuda": "CUD",
    "rocm": "ROC",
    "intel": "INT",
}
IDENTIFIERS = {
    "cis_debian12": r"\d+(\.\d+)+",
    "cis_debian13": r"\d+(\.\d+)+",
    "cis_docker": r"\d+(\.\d+)+",
    "nist_800_53": r"[A-Z]{2}-\d+(\(\d+\)|\([a-z]\))*",
}


def test_every_id_is_there_once_and_in_order() -> None:
    wanted = [f"NP-{prefix}-{n:02}" for prefix, many in IDS.items() for n in range(1, many + 1)]
    assert list(controls()) == wanted
    assert len(controls()) == 58


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
