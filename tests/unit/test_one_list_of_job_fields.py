"""What is published of a job follows from one list, `PublicJobFields`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest

from producer.api.openapi.document import render_document
from producer.api.routes import ENDPOINTS
from producer.cli.display.tables.job_tables import rows_of_other_fields
from shared.catalog.families.gpt4o_image import ASPECT_RATIOS, QUANTITIES
from shared.domain.job import Job, Priority, PublicJobFields
from shared.job_json import JOB_FIELDS

ROOT = Path(__file__).parents[2]
SCHEMAS: dict[str, Any] = orjson.loads(render_document(ENDPOINTS))["components"]["schemas"]


def test_the_openapi_document_has_every_field_in_order() -> None:
    job = SCHEMAS["Job"]
    assert tuple(job["properties"]) == tuple(job["required"]) == JOB_FIELDS
    assert tuple(SCHEMAS["JobPart"]["properties"]) == JOB_FIELDS
    assert job["properties"]["priority"]["enum"] == list(get_args(Priority))


@pytest.mark.parametrize("name", JOB_FIELDS)
def test_every_example_fits_its_schema(name: str) -> None:
    schema = SCHEMAS["Job"]["properties"][name]
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    (example,) = schema["examples"]
    kinds = {str: "string", int: "integer", list: "array", dict: "object", type(None): "null"}
    given = kinds[type(example)]
    assert given in types or (given == "integer" and "number" in types)
    assert example in schema.get("enum", [example])


def test_the_details_of_a_job_show_a_new_field_and_no_field_twice() -> None:
    known: dict[str, Any] = dict.fromkeys(JOB_FIELDS, "a value")
    assert list(rows_of_other_fields(known)) == []
    new = {**known, "best_colour": "red", "weight": 3, "smells": [], "taste": None}
    assert list(rows_of_other_fields(new)) == [("best colour", "red"), ("weight", "3")]


def test_every_public_field_is_a_field_of_a_job() -> None:
    names = [one.name for one in fields(Job)]
    assert (
        names[: len(JOB_FIELDS)]
        == list(JOB_FIELDS)
        == [one.name for one in fields(PublicJobFields)]
    )


# --- texts that programs without our packages hold ------------------------------------------------


def test_programs_without_our_packages_name_the_values_of_the_catalog() -> None:
    client = (ROOT / "examples" / "python_client.py").read_text(encoding="utf-8")
    for values in (ASPECT_RATIOS, QUANTITIES):
        *first, last = map(str, values)
        assert f'help="{", ".join(first)} or {last}"' in client
    peers = (ROOT / "bench" / "peers" / "peer_tables.py").read_text(encoding="utf-8")
    assert f"QUANTITIES = {QUANTITIES}\n" in peers
