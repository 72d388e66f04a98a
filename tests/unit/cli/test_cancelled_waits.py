"""A wait for a job whose cancel was requested meanwhile says so, and is no success."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from producer.cli.display.text_format import state_text
from producer.cli.exit_codes import ExitCode, code_of_ended
from producer.cli.job_reports import report_end
from shared.domain.job import replace_fields
from shared.domain.lifecycle import IN_FLIGHT, JobState
from tests.support.example_jobs import example_job

AT = datetime(2030, 1, 31, 18, tzinfo=UTC)


@pytest.mark.parametrize("state", sorted(IN_FLIGHT))
def test_an_open_job_is_not_reported_as_failed(
    capsys: pytest.CaptureFixture[str], state: JobState
) -> None:
    job = replace_fields(example_job(), state=state, cancel_requested_at=AT)
    report_end(job)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{state}: its cancel was requested" in said
    assert "nothing is charged" not in said
    assert f"jobs wait {job.id}" in said
    assert code_of_ended(job) is ExitCode.JOB_FAILED
    assert state_text(job) == f"{state} (cancel requested)"


def test_of_a_job_that_has_ended_the_request_is_past() -> None:
    job = replace_fields(example_job(), state=JobState.SUCCEEDED, cancel_requested_at=AT)
    assert not job.is_cancel_requested
    assert state_text(job) == "succeeded"
