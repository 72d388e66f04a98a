"""The client of Darkroom: `Darkroom(url, key).enqueue(prompt=…).wait()`.

`Darkroom` blocks, and `AsyncDarkroom` is for asyncio. Both have the same methods. `problems` has an
exception per refusal of the API.
"""

from darkroom_client.async_client import AsyncDarkroom
from darkroom_client.async_job import AsyncJob
from darkroom_client.client import Darkroom
from darkroom_client.errors import (
    ApiError,
    ConnectionFailed,
    DarkroomError,
    JobFailed,
    ProxyUnusable,
    UnexpectedAnswer,
    WaitTimedOut,
    WebhookNotGenuine,
)
from darkroom_client.generated import models, problems
from darkroom_client.generated.orders import Order, OrderFields
from darkroom_client.http.event_stream import Event
from darkroom_client.http.retries import RetryPolicy
from darkroom_client.job import Job
from darkroom_client.webhooks import Webhook, verify_webhook

__all__ = [
    "ApiError",
    "AsyncDarkroom",
    "AsyncJob",
    "ConnectionFailed",
    "Darkroom",
    "DarkroomError",
    "Event",
    "Job",
    "JobFailed",
    "Order",
    "OrderFields",
    "ProxyUnusable",
    "RetryPolicy",
    "UnexpectedAnswer",
    "WaitTimedOut",
    "Webhook",
    "WebhookNotGenuine",
    "models",
    "problems",
    "verify_webhook",
]
