"""`replace_fields` returns a copy with only these fields replaced."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

import pytest

from shared.domain.job import Job, replace_fields

JOB = Job(**cast("dict[str, Any]", {one.name: f"the {one.name}" for one in fields(Job)}))


@pytest.mark.parametrize("name", [one.name for one in fields(Job)])
def test_any_field_can_be_changed_and_the_others_stay(name: str) -> None:
    change: dict[str, Any] = {name: "something else"}
    made = replace_fields(JOB, **change)
    wanted = replace(JOB, **change)
    assert [getattr(made, one.name) for one in fields(Job)] == [
        getattr(wanted, one.name) for one in fields(Job)
    ]
    assert getattr(JOB, name) == f"the {name}"


def test_a_field_that_no_job_has_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        replace_fields(JOB, colour="red")
