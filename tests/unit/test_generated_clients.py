"""The clients are those of the present API: generated files are current, and nothing is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from darkroom_client import AsyncDarkroom, Darkroom, problems
from darkroom_client.http.calls import JobFilter

from clients.generator.__main__ import generated_files
from clients.generator.openapi_schemas import problem_types, read_document, service_operations

ROOT = Path(__file__).parents[2]
DOCUMENT = read_document()
FILES = generated_files()
METHODS = {
    "createJob": "enqueue",
    "createJobs": "enqueue_many",
    "listJobs": "jobs",
    "countJobs": "count",
    "getJob": "job",
    "streamJob": "events",
    "cancelJob": "cancel",
    "cancelJobs": "cancel_many",
    "retryJob": "retry",
    "retryJobs": "retry_many",
    "uploadFile": "upload",
    "getFile": "file",
    "getJobImage": "download",
    "getQuote": "quote",
    "quoteOrder": "quote",
    "listPrices": "prices",
    "getAccount": "account",
    "listLedger": "ledger",
    "getStatement": "statement",
    "downloadStatement": "statement_csv",
    "streamAccount": "account_events",
    "listWebhooks": "webhooks",
    "getWebhook": "webhook",
    "replayWebhook": "replay_webhook",
    "getWebhookSecret": "webhook_secret",
    "createWebhookSecret": "webhook_secret",
    "rotateWebhookSecret": "rotate_webhook_secret",
    "revokeWebhookSecret": "revoke_webhook_secret",
}
"""Each operation of a service key with the method of the client."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_generated_file_is_current(file: Path) -> None:
    assert file.read_text("utf-8") == FILES[file], "run `make types`"


def test_the_client_has_every_operation_of_a_service_key() -> None:
    operations = {one["operationId"] for one in service_operations(DOCUMENT)}
    assert set(METHODS) == operations
    for client in (AsyncDarkroom, Darkroom):
        assert not [name for name in METHODS.values() if not hasattr(client, name)]


def test_the_client_has_every_filter_of_jobs() -> None:
    [listed] = [one for one in service_operations(DOCUMENT) if one["operationId"] == "listJobs"]
    parameters = {one["name"] for one in listed["parameters"]}
    assert set(JobFilter.__annotations__) == parameters - {"limit", "cursor", "fields"}


def test_every_problem_of_the_document_has_an_exception() -> None:
    assert set(problems.BY_CODE) == {one.code for one in problem_types(DOCUMENT)}
