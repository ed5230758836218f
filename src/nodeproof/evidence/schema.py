"""The JSON schema of a result, made from the model and shipped for whoever reads results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nodeproof.engine.result import Result

SHIPPED = Path(__file__).with_name("schema") / "result-1.json"
IDENTIFIER = "urn:nodeproof:schema:result:1"


def result_schema() -> dict[str, Any]:
    """Return the schema of what is written: every field is there, none is unknown."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": IDENTIFIER,
        **Result.model_json_schema(by_alias=True, mode="serialization"),
    }


def schema_text() -> str:
    """Return the schema as it is shipped."""
    return json.dumps(result_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SHIPPED.write_text(schema_text(), encoding="utf-8")
