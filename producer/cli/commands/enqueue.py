"""`darkroom enqueue`: enqueue a job from options, and optionally wait for its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.cli.command_runner import CommandContext, run_connected
from producer.cli.display.console import print_data, print_json
from producer.cli.display.text_format import (
    credits_text,
    duration_text,
    task_quantity_text,
)
from producer.cli.exit_codes import ExitCode
from producer.cli.job_reports import report_enqueued
from producer.cli.options import AsJson, Timeout, Wait, parse_json_object, parse_time
from producer.cli.request.request_options import (
    check_fields,
    request_fields,
)
from producer.files.local_images import find_local_images
from producer.orders.field_limits import DEFAULT_MODEL
from producer.waiting.wait_texts import wait_text
from shared.errors import Fault, InvalidRequest

if TYPE_CHECKING:
    from producer.orders.order import Order
    from producer.orders.order_fields import FindUrlFault

_AccountOption = Annotated[str, typer.Option(metavar="A", help="Who pays.")]
_PromptOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What to show; optional with --image.")
]
_AspectRatioOption = Annotated[
    str | None,
    typer.Option(
        metavar="RATIO",
        help="Other models have others; 1:1 where the model requires one.",
    ),
]
_QuantityOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="How many images; 1 if left out."),
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
_ModelOption = Annotated[str, typer.Option(metavar="NAME", help="The model.")]
_EnhancePromptOption = Annotated[
    bool, typer.Option("--enhance-prompt", help="Have Kie refine the prompt.")
]
_FallbackModelOption = Annotated[str | None, typer.Option(metavar="NAME")]
_FieldsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME=VALUE",
        callback=check_fields,
        help="A field that some models have; repeatable.",
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
    typer.Option(
        metavar="ISO",
        parser=parse_time,
        help="Not before this time; without a zone, in this machine's.",
    ),
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
    options = _read_options(
        prompt, aspect_ratio, quantity, images, mask, enhance_prompt, fallback_model
    )
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
    options = _read_options(
        prompt, aspect_ratio, quantity, images, mask, enhance_prompt, fallback_model
    )
    order_fields = {"account_id": account, "priority": priority, "run_at": run_at}

    async def step(context: CommandContext) -> None:
        from producer.files.checked_image import check_local_images

        found = find_local_images(options, allow_paths=True)
        order = build_order(model, found.checkable, fields or [], order_fields)
        await check_local_images(found.images)
        quoted = await context.producer.quote(
            order.request, account_id=account, priority=order.priority, run_at=order.run_at
        )
        if as_json:
            from producer.waiting.quotes import quote_to_json

            print_json(quote_to_json(quoted, order.request))
            return
        request = order.request
        task = task_quantity_text(request.task, request.price_quantity, quoted.variant)
        print_data(f"{request.model}, {task}: {credits_text(quoted.credits)} credits")
        print_data(f"available: {credits_text(quoted.available)} credits")
        print_data(wait_text(quoted, datetime.now(UTC), duration_text))

    run_connected(step)


def _read_options(
    prompt: str | None,
    aspect_ratio: str | None,
    quantity: int | None,
    images: list[str] | None,
    mask: str | None,
    enhance_prompt: bool,
    fallback_model: str | None,
) -> dict[str, Any]:
    """Return the fields of the request that have options of their own. None is not given."""
    return {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "quantity": quantity,
        "image_urls": images or None,
        "mask_url": mask,
        "enhance_prompt": enhance_prompt or None,
        "fallback_model": fallback_model,
    }


async def _order_with_images(
    context: CommandContext,
    model: str,
    options: dict[str, Any],
    fields: list[str],
    order_fields: dict[str, Any],
) -> Order:
    """Return the order. Its local images are uploaded once everything else is valid."""
    found = find_local_images(options, allow_paths=True)
    find_fault = context.producer.enqueuer.find_destination_fault
    order = build_order(model, found.checkable, fields, order_fields, find_fault)
    if not found.images:
        return order
    urls = await context.producer.files.upload_all(
        found.images, account_id=order.account_id, idempotency_key=order.idempotency_key
    )
    return build_order(model, found.with_urls(urls), fields, order_fields)


def build_order(
    model: str,
    options: dict[str, Any],
    fields: list[str],
    order_fields: dict[str, Any],
    find_destination_fault: FindUrlFault | None = None,
) -> Order:
    """Return the order, or raise `InvalidRequest` with the faults of request and order fields."""
    from producer.orders.order import Order
    from producer.orders.order_fields import find_order_faults
    from shared.catalog import get_family

    faults: list[Fault] = []
    try:
        task, given = request_fields(model, options, fields)
        request = get_family(model).validate(task, given)
    except InvalidRequest as error:
        faults += error.faults
    faults += find_order_faults(order_fields, find_destination_fault)
    if faults:
        raise InvalidRequest(faults)
    return Order(request=request, **order_fields)
