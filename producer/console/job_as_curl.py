"""Writes the request of a job as a curl command, without a key."""

from __future__ import annotations

import json
import shlex
from typing import Any

from producer.orders.order import Order
from shared.domain.job import Job


def job_as_curl(job: Job) -> str:
    """Return the command that places the same order again.

    The address and the key are variables of the shell, as in docs/http.md. Every text is quoted, so
    that a prompt cannot end the argument.
    """
    body: dict[str, Any] = {"account_id": job.account_id, "model": job.model, "task": job.task}
    body |= {name: value for name, value in job.request.items() if value is not None}
    if job.metadata:
        body["metadata"] = dict(job.metadata)
    if job.webhook_url is not None:
        body["webhook_url"] = job.webhook_url
    if job.priority != Order.__dataclass_fields__["priority"].default:
        body["priority"] = job.priority
    text = json.dumps(body, indent=2, ensure_ascii=True)
    return (
        'curl -X POST "$DARKROOM_URL/v1/jobs" \\\n'
        '  -H "Authorization: Bearer $DARKROOM_API_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(text)}"
    )
