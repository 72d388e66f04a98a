"""The options of `darkroom enqueue`: the request's fields and the order's small print."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from producer.cli.options import parse_json_object, parse_time

Account = Annotated[str, typer.Option(metavar="A", help="Who pays.")]
Prompt = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What to show; optional with --image.")
]
AspectRatio = Annotated[str, typer.Option(metavar="1:1|3:2|2:3")]
Quantity = Annotated[int, typer.Option(metavar="1|2|4", help="How many images.")]
Images = Annotated[
    list[str] | None,
    typer.Option("--image", metavar="URL", help="Makes it image-to-image; up to 5 times."),
]
Mask = Annotated[
    str | None, typer.Option(metavar="URL", help="What to change; with exactly one image.")
]
Model = Annotated[str, typer.Option(metavar="NAME")]
EnhancePrompt = Annotated[
    bool, typer.Option("--enhance-prompt", help="Have Kie refine the prompt.")
]
FallbackModel = Annotated[str | None, typer.Option(metavar="GPT_IMAGE_1|FLUX_MAX")]
IdempotencyKey = Annotated[
    str | None, typer.Option(metavar="K", help="The same key is the same job.")
]
WebhookUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Where the end is told, by a signed POST.")
]
Metadata = Annotated[
    dict[str, Any] | None,
    typer.Option(metavar="JSON", parser=parse_json_object, help="Your notes, given back as is."),
]
PriorityWord = Annotated[
    str, typer.Option(metavar="high|normal|low", help="Stored for now: the order is by time.")
]
RunAt = Annotated[
    datetime | None,
    typer.Option(metavar="ISO", parser=parse_time, help="Not before this moment."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end; 4 if it fails.")]
