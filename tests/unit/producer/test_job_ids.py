"""An id is read only in the spelling that Darkroom writes."""

from __future__ import annotations

from uuid import UUID

import pytest

from producer.job_ids import read_uuid

ID = "019b2f3e-7c1a-7d54-9c3e-2f6d1f0a8b11"


@pytest.mark.parametrize("text", [ID, ID.upper(), ID.replace("-", "")])
def test_an_id_is_read(text: str) -> None:
    assert read_uuid(text) == UUID(ID)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", f"{{{ID}}}", f"urn:uuid:{ID}", f" {ID}", f"{ID}\n", f"{ID}0", ID[:-1]),
        ID.replace("0", "\u0660"),
        ID.replace("0", "\U0001fbf0"),
        ID[:8] + ID[9:],
        "0x" + ID.replace("-", "")[2:],
        ID.replace("-", "")[:-2] + "_1",
        "-" * 36,
    ],
)
def test_every_other_text_is_none(text: str) -> None:
    assert read_uuid(text) is None
