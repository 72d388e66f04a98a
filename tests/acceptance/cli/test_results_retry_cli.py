"""`darkroom results retry`, and the route that does the same: failed copies are made after all."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, eventually


async def test_given_up_copies_are_made_once_the_store_is_back(
    darkroom: Darkroom, deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "2026").write_text("a file stands where a folder should be")
    settings: dict[str, Any] = {"results_url": folder.as_uri(), "results_deadline_seconds": 0.1}
    async with deployment.worker(**settings):
        jobs = [await deployment.ended(await deployment.enqueue()) for _ in range(2)]
    await deployment.run_sql(
        "UPDATE job_images SET state = 'failed', last_error = 'not a directory', announce_at = NULL"
    )
    first, second = (str(job.id) for job in jobs)
    mistyped, both, nobody, one, by_filter = await darkroom.run_all(
        ("results", "retry"),
        ("results", "retry", first, "--all"),
        ("results", "retry", "01a21f88-a9f9-7363-9727-000000000000"),
        ("results", "retry", first),
        ("results", "retry", "--where", f"id={second}", "--json"),
    )
    assert (mistyped.code, both.code, nobody.code) == (2, 2, 3)
    assert (one.code, one.out) == (0, "tried again now: 1 image of 1 job\n")
    assert by_filter.object == {"images": 1, "jobs": 1, "expired": 0}
    entries = await deployment.producer.billing.audit(act="images_retried")
    assert {(entry["actor"], entry["via"]) for entry in entries} == {(getpass.getuser(), "cli")}
    (folder / "2026").unlink()
    async with deployment.worker(**settings), deployment.api(**settings) as api:

        async def are_stored() -> bool:
            found = [await deployment.producer.get(job.id) for job in jobs]
            return all(job.images[0].is_stored for job in found)

        await eventually(are_stored, "both are copied")
        wrong: list[dict[str, Any]] = [
            {},
            {"all": False},
            {"all": True, "ids": [first]},
            {"where": {}},
        ]
        for body in wrong:
            (await api.post("/v1/images/retry", body)).expect(422)
        told = (await api.post("/v1/images/retry", {"all": True})).expect(200)
        assert told == {"images": 0, "jobs": 0, "expired": 0}
    deployment.check_paid_once()
    await deployment.check_invariants_hold()
