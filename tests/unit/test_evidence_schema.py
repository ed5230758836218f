"""The shipped schema is the model's, and results that are written satisfy it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import samples
from jsonschema import Draft202012Validator

from nodeproof.evidence.schema import SHIPPED, result_schema, schema_text

VALIDATOR = Draft202012Validator(result_schema())


def test_the_shipped_file_is_current() -> None:
    assert SHIPPED.read_text(encoding="utf-8") == schema_text(), (
        "run python -m nodeproof.evidence.schema"
    )


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(result_schema())


@pytest.mark.parametrize("name", sorted(samples.everything()))
def test_a_written_result_satisfies_it(name: str) -> None:
    document = json.loads(samples.everything()[name].model_dump_json(by_alias=True))
    assert list(VALIDATOR.iter_errors(document)) == []


def document() -> dict[str, Any]:
    written: dict[str, Any] = json.loads(samples.planned().model_dump_json(by_alias=True))
    return written


def test_a_wrong_result_does_not() -> None:
    for spoil in (
        lambda d: d.update(schema="nodeproof/result/2"),
        lambda d: d.pop("schema"),
        lambda d: d.update(more=1),
        lambda d: d["nodes"][0].update(status="fine"),
        lambda d: d["nodes"][0].pop("changes"),
        lambda d: d["nodes"][0]["changes"][0].update(status="perhaps"),
    ):
        broken = document()
        spoil(broken)
        assert not VALIDATOR.is_valid(broken)
