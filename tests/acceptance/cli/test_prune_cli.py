"""`darkroom results prune`: copies are deleted by age, after a dry run and a question."""

from __future__ import annotations

import getpass
from pathlib import Path

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment

OLD = ("results", "prune", "--older-than", "90d")


async def test_old_copies_are_counted_asked_for_and_deleted(
    darkroom: Darkroom, deployment: Deployment, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/store"
    async with deployment.worker(results_url=url):
        job = await deployment.ended(await deployment.enqueue())
    size = job.images[0].bytes
    await deployment.run_sql("UPDATE job_images SET stored_at = now() - interval '91 days'")
    there = darkroom.elsewhere(RESULTS_URL=url)
    counted, refused, mistyped, astray = await there.run_all(
        (*OLD, "--dry-run", "--json"), OLD, ("results", "prune", "--older-than", "90"), OLD[:2]
    )
    assert counted.code == 0, counted.err
    told = counted.object
    assert (told["dry_run"], told["images"], told["jobs"], told["bytes"]) == (True, 1, 1, size)
    assert refused.code != 0
    assert f"1 image of 1 job, {size:,} bytes" in refused.err
    assert "--yes" in refused.err
    assert (mistyped.code, astray.code) == (2, 2)
    store = tmp_path / "store"
    assert any(path.is_file() for path in store.rglob("*"))
    said = await there.run(*OLD, "--yes")
    assert said.code == 0, said.err
    assert said.out.startswith(f"deleted 1 image of 1 job, {size:,} bytes, stored before")
    assert not any(path.is_file() for path in store.rglob("*"))
    (entry,) = await deployment.producer.billing.audit(act="images_pruned")
    assert (entry["actor"], entry["via"]) == (getpass.getuser(), "cli")
    again = await there.run(*OLD, "--json")
    assert (again.code, again.object["images"]) == (0, 0)
    await deployment.check_invariants_hold()
