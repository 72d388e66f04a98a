"""`darkroom enqueue`: enqueue a job from options, and optionally wait for its end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from producer.cli.command_runner import CommandContext, run_connected
from producer.cli.display.console import print_data, print_json, print_message
from producer.cli.display.job_progress import wait_with_progress
from producer.cli.display.text_format import (
    command_text,
    credits_text,
    duration_between_text,
    job_task_text,
    printable,
)
from producer.cli.exit_codes import ExitCode, code_of_ended
from producer.cli.options import AsJson, Timeout, Wait, parse_json_object, parse_time
from producer.orders.order import Order
from producer.orders.order_fields import DEFAULT_MODEL
from shared.adapters.processes.redis_presence import ALIVE_SECONDS
from shared.catalog import ImageRequest, get_family
from shared.catalog.families.gpt4o_image import (
    ASPECT_RATIOS,
    FALLBACK_MODELS,
    QUANTITIES,
    TextToImage,
)
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import Fault, InvalidRequest
from shared.job_json import job_to_json

_AccountOption = Annotated[str, typer.Option(metavar="A", help="Who pays.")]
_PromptOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What to show; optional with --image.")
]
_AspectRatioOption = Annotated[str, typer.Option(metavar="|".join(ASPECT_RATIOS))]
_QuantityOption = Annotated[
    int, typer.Option(metavar="|".join(map(str, QUANTITIES)), help="How many images.")
]
_ImagesOption = Annotated[
    list[str] | None,
    typer.Option("--image", metavar="URL", help="Makes it image-to-image; up to 5 times."),
]
_MaskOption = Annotated[
    str | None, typer.Option(metavar="URL", help="What to change; with exactly one image.")
]
_ModelOption = Annotated[str, typer.Option(metavar="NAME")]
_EnhancePromptOption = Annotated[
    bool, typer.Option("--enhance-prompt", help="Have Kie refine the prompt.")
]
_FallbackModelOption = Annotated[str | None, typer.Option(metavar="|".join(FALLBACK_MODELS))]
_IdempotencyKeyOption = Annotated[
    str | None, typer.Option(metavar="K", help="The same key is the same job.")
]
_WebhookUrlOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Receives a signed POST when the job ends.")
]
_MetadataOption = Annotated[
    dict[str, Any] | None,
    typer.Option(
        metavar="JSON", parser=parse_json_object, help="Your metadata, returned unchanged."
    ),
]
_PriorityOption = Annotated[
    str, typer.Option(metavar="high|normal|low", help="Stored for now: the order is by time.")
]
_RunAtOption = Annotated[
    datetime | None,
    typer.Option(metavar="ISO", parser=parse_time, help="Do not run the job before this time."),
]


def enqueue(
    account: _AccountOption,
    prompt: _PromptOption = None,
    aspect_ratio: _AspectRatioOption = "1:1",
    quantity: _QuantityOption = 1,
    images: _ImagesOption = None,
    mask: _MaskOption = None,
    model: _ModelOption = DEFAULT_MODEL,
    enhance_prompt: _EnhancePromptOption = False,
    fallback_model: _FallbackModelOption = None,
    idempotency_key: _IdempotencyKeyOption = None,
    webhook_url: _WebhookUrlOption = None,
    metadata: _MetadataOption = None,
    priority: _PriorityOption = "normal",
    run_at: _RunAtOption = None,
    wait: Wait = False,
    timeout: Timeout = 600,
    as_json: AsJson = False,
) -> None:
    """Enqueue a job: prints its id, or with --wait the image URLs, one per line."""
    fields: dict[str, Any] = {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "quantity": quantity,
        "image_urls": images or None,
        "mask_url": mask,
        "enhance_prompt": enhance_prompt or None,
        "fallback_model": fallback_model,
    }
    order_fields: dict[str, Any] = {
        "account_id": account,
        "idempotency_key": idempotency_key,
        "metadata": metadata or {},
        "webhook_url": webhook_url,
        "priority": priority,
        "run_at": run_at,
    }
    given = {name: value for name, value in fields.items() if value is not None}

    async def step(context: CommandContext) -> ExitCode:
        [job] = await context.producer.enqueue_many([build_order(model, given, order_fields)])
        timeout_seconds = timeout if wait else None
        return await report_enqueued(context, job, timeout_seconds=timeout_seconds, as_json=as_json)

    run_connected(step)


def build_order(model: str, fields: dict[str, Any], order_fields: dict[str, Any]) -> Order:
    """Return the order, or raise `InvalidRequest` with the faults of request and order fields."""
    faults: list[Fault] = []
    # Replaces a refused request, so that the order fields are checked as well.
    request: ImageRequest = TextToImage(prompt="-", aspect_ratio="1:1")
    task = "image-to-image" if {"image_urls", "mask_url"} & fields.keys() else "text-to-image"
    try:
        request = get_family(model).validate(task, fields)
    except InvalidRequest as error:
        faults += error.faults
    try:
        order = Order(request=request, **order_fields)
    except InvalidRequest as error:
        faults += error.faults
    if faults:
        raise InvalidRequest(faults)
    return order


async def report_enqueued(
    context: CommandContext, job: Job, *, timeout_seconds: float | None, as_json: bool
) -> ExitCode:
    """Print a new job, and return the exit code. With a timeout, wait for its end."""
    print_message(
        f"{job_task_text(job)} for {printable(job.account_id)}:"
        f" {credits_text(job.credits_quoted)} credits held until it ends"
    )
    await _warn_if_no_worker(context, job)
    if timeout_seconds is not None:
        return await wait_and_report(context, job, timeout_seconds=timeout_seconds, as_json=as_json)
    if as_json:
        print_json(job_to_json(job))
        return ExitCode.DONE
    print_data(str(job.id))
    print_message(f"next: {command_text('jobs', 'wait', str(job.id))}", "dim")
    return ExitCode.DONE


async def wait_and_report(
    context: CommandContext, job: Job, *, timeout_seconds: float, as_json: bool
) -> ExitCode:
    """Wait for the end of a job with a progress display, and print the job or its image URLs."""
    [job] = await wait_with_progress(context.producer, [job], timeout_seconds)
    if as_json:
        print_json(job_to_json(job))
    elif job.state is JobState.SUCCEEDED:
        for url in job.result_urls:
            print_data(printable(url))
    report_end(job)
    return code_of_ended(job)


def report_end(job: Job) -> None:
    """Print to stderr how a job ended."""
    if job.state is JobState.SUCCEEDED:
        took = duration_between_text(job.created_at, job.finished_at)
        print_message(
            f"succeeded in {took}: {credits_text(job.credits_charged)} credits charged", "green"
        )
        return
    reason = ": ".join(printable(part) for part in (job.reason, job.message) if part)
    print_message(f"{job.state} ({reason}); the hold is released, nothing is charged", "red")
    print_message(f"next: {command_text('jobs', 'show', str(job.id))}", "dim")


async def _warn_if_no_worker(context: CommandContext, job: Job) -> None:
    if job.is_terminal:
        return
    row = await context.database.fetch_row("worker_lives", ALIVE_SECONDS)
    if row is not None and not row["is_alive"]:
        print_message(
            f"no worker is running, so the job waits: start one with {command_text('worker')}",
            "yellow",
        )
