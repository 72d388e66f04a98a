"""`darkroom enqueue`: enqueue a job from options, and optionally wait for its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from producer.cli.command_runner import CommandContext, run_connected
from producer.cli.display.console import print_data, print_json, print_message
from producer.cli.display.job_progress import wait_with_progress
from producer.cli.display.text_format import (
    CANCEL_REQUESTED_TEXT,
    command_text,
    credits_text,
    duration_between_text,
    duration_text,
    job_task_text,
    printable,
    task_quantity_text,
)
from producer.cli.exit_codes import ExitCode, code_of_ended
from producer.cli.options import AsJson, Timeout, Wait, parse_json_object, parse_time
from producer.cli.request_options import (
    check_fields,
    list_models,
    list_other_fields,
    request_fields,
    values_of_default,
)
from producer.files.local_images import find_local_images
from producer.orders.order import Order
from producer.orders.order_fields import DEFAULT_MODEL, find_order_faults
from producer.waiting.quotes import quote_to_json
from producer.waiting.wait_texts import wait_text
from shared.adapters.processes.redis_presence import ALIVE_SECONDS
from shared.catalog import get_family
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import Fault, InvalidRequest
from shared.job_json import job_to_json

_AccountOption = Annotated[str, typer.Option(metavar="A", help="Who pays.")]
_PromptOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What to show; optional with --image.")
]
_AspectRatioOption = Annotated[
    str | None,
    typer.Option(
        metavar=values_of_default("aspect_ratio"),
        help="Other models have others; 1:1 where the model requires one.",
    ),
]
_QuantityOption = Annotated[
    int | None,
    typer.Option(metavar=values_of_default("quantity"), help="How many images; 1 if left out."),
]
_ImagesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="URL|PATH",
        help="Makes it image-to-image; repeatable. A local file is uploaded to Kie first.",
    ),
]
_MaskOption = Annotated[
    str | None,
    typer.Option(metavar="URL|PATH", help="What to change; with exactly one image."),
]
_CheckImagesOption = Annotated[
    bool, typer.Option("--check-images", help="Request each image before anything is held.")
]
_ModelOption = Annotated[str, typer.Option(metavar="NAME", help=f"One of {list_models()}.")]
_EnhancePromptOption = Annotated[
    bool, typer.Option("--enhance-prompt", help="Have Kie refine the prompt.")
]
_FallbackModelOption = Annotated[
    str | None, typer.Option(metavar=values_of_default("fallback_model"))
]
_FieldsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME=VALUE",
        callback=check_fields,
        help=f"A field that some models have ({list_other_fields()}); repeatable.",
    ),
]
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
    str,
    typer.Option(metavar="high|normal|low", help="Of 21 submits, 16 are high, 4 normal and 1 low."),
]
_RunAtOption = Annotated[
    datetime | None,
    typer.Option(metavar="ISO", parser=parse_time, help="Do not run the job before this time."),
]


def enqueue(
    account: _AccountOption,
    prompt: _PromptOption = None,
    aspect_ratio: _AspectRatioOption = None,
    quantity: _QuantityOption = None,
    images: _ImagesOption = None,
    mask: _MaskOption = None,
    model: _ModelOption = DEFAULT_MODEL,
    enhance_prompt: _EnhancePromptOption = False,
    fallback_model: _FallbackModelOption = None,
    fields: _FieldsOption = None,
    idempotency_key: _IdempotencyKeyOption = None,
    webhook_url: _WebhookUrlOption = None,
    metadata: _MetadataOption = None,
    priority: _PriorityOption = "normal",
    run_at: _RunAtOption = None,
    check_images: _CheckImagesOption = False,
    wait: Wait = False,
    timeout: Timeout = 600,
    as_json: AsJson = False,
) -> None:
    """Enqueue a job: prints its id, or with --wait the image URLs, one per line."""
    options: dict[str, Any] = {
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

    async def step(context: CommandContext) -> ExitCode:
        order = await _order_with_images(context, model, options, fields or [], order_fields)
        if check_images:
            await context.producer.check_images(order.request, account_id=account)
        [job] = await context.producer.enqueue_many([order])
        timeout_seconds = timeout if wait else None
        return await report_enqueued(context, job, timeout_seconds=timeout_seconds, as_json=as_json)

    run_connected(step)


def quote(
    account: _AccountOption,
    prompt: _PromptOption = None,
    aspect_ratio: _AspectRatioOption = None,
    quantity: _QuantityOption = None,
    images: _ImagesOption = None,
    mask: _MaskOption = None,
    model: _ModelOption = DEFAULT_MODEL,
    enhance_prompt: _EnhancePromptOption = False,
    fallback_model: _FallbackModelOption = None,
    fields: _FieldsOption = None,
    priority: _PriorityOption = "normal",
    run_at: _RunAtOption = None,
    as_json: AsJson = False,
) -> None:
    """Say what a job would cost and when it would be submitted. Nothing is placed or uploaded."""
    options: dict[str, Any] = {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "quantity": quantity,
        "image_urls": images or None,
        "mask_url": mask,
        "enhance_prompt": enhance_prompt or None,
        "fallback_model": fallback_model,
    }
    order_fields = {"account_id": account, "priority": priority, "run_at": run_at}

    async def step(context: CommandContext) -> None:
        found = find_local_images(options, allow_paths=True)
        order = build_order(model, found.checkable, fields or [], order_fields)
        quoted = await context.producer.quote(
            order.request, account_id=account, priority=order.priority, run_at=order.run_at
        )
        if as_json:
            print_json(quote_to_json(quoted, order.request))
            return
        request = order.request
        task = task_quantity_text(request.task, request.price_quantity, quoted.variant)
        print_data(f"{request.model}, {task}: {credits_text(quoted.credits)} credits")
        print_data(f"available: {credits_text(quoted.available)} credits")
        print_data(wait_text(quoted, datetime.now(UTC), duration_text))

    run_connected(step)


async def _order_with_images(
    context: CommandContext,
    model: str,
    options: dict[str, Any],
    fields: list[str],
    order_fields: dict[str, Any],
) -> Order:
    """Return the order. Its local images are uploaded once everything else is valid."""
    found = find_local_images(options, allow_paths=True)
    order = build_order(model, found.checkable, fields, order_fields)
    if not found.images:
        return order
    urls = await context.producer.files.upload_all(
        found.images, account_id=order.account_id, idempotency_key=order.idempotency_key
    )
    return build_order(model, found.with_urls(urls), fields, order_fields)


def build_order(
    model: str, options: dict[str, Any], fields: list[str], order_fields: dict[str, Any]
) -> Order:
    """Return the order, or raise `InvalidRequest` with the faults of request and order fields."""
    faults: list[Fault] = []
    try:
        task, given = request_fields(model, options, fields)
        request = get_family(model).validate(task, given)
    except InvalidRequest as error:
        faults += error.faults
    if faults:
        raise InvalidRequest([*faults, *find_order_faults(order_fields)])
    return Order(request=request, **order_fields)


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
    """Print to stderr how a job ended, or that its cancel was requested."""
    if job.state is JobState.SUCCEEDED:
        took = duration_between_text(job.created_at, job.finished_at)
        print_message(
            f"succeeded in {took}: {credits_text(job.credits_charged)} credits charged", "green"
        )
        return
    if not job.is_terminal:
        print_message(f"{job.state}: its cancel was requested. {CANCEL_REQUESTED_TEXT}", "yellow")
        print_message(f"to wait for its end: {command_text('jobs', 'wait', str(job.id))}", "dim")
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
