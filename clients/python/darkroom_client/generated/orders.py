"""What an order may contain. Written by `make types` from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike
from typing import Any, Literal, Required, TypeAlias, TypedDict

ImageSource: TypeAlias = str | PathLike[str]
"""A public URL, or a local file that the client uploads first."""


class OrderNotes(TypedDict, total=False):
    """What an order of any model may have beside the request."""

    account_id: str
    """Who pays; the account must exist. A service key may leave it out: it pays from its own
    account."""
    metadata: Mapping[str, Any]
    """Your own notes, given back as they are; at most 16 KiB of JSON."""
    webhook_url: str | None
    """Receives a signed POST when the job ends; a public http:// or https:// URL."""
    priority: Literal["high", "normal", "low"]
    """High, normal or low."""
    run_at: datetime | None
    """The earliest time to run the job, with its timezone, at most 366 days from now; null: now."""


class OrderFields(OrderNotes, total=False):
    """The fields of every model. The API says which one has which."""

    model: Literal[
        "flux1-kontext",
        "gpt-4o-image",
        "gpt-image-1.5",
        "gpt-image-2",
        "gpt-image-2-5",
        "4o-image-api",
    ]
    task: Literal["text-to-image", "image-to-image"]
    quantity: Literal[1, 2, 4]
    prompt: str | None
    """Text of 1 to 20,000 characters."""
    output_format: Literal["jpeg", "png"]
    """One of jpeg, png."""
    enhance_prompt: bool
    """Whether Kie refines the prompt."""
    translate_prompt: bool
    """Whether Kie translates the prompt into English, which is needed."""
    safety_tolerance: int
    """A whole number from 0 (strict) to 6."""
    watermark: str | None
    """Text of 1 to 200 characters that Kie writes on the image."""
    upload_cn: bool
    """Whether to upload through China."""
    aspect_ratio: (
        Literal[
            "21:9",
            "16:9",
            "4:3",
            "1:1",
            "3:4",
            "9:16",
            "3:2",
            "2:3",
            "auto",
            "5:4",
            "4:5",
            "2:1",
            "1:2",
            "3:1",
            "1:3",
            "9:21",
            "27:16",
            "16:27",
            "9:8",
            "8:9",
        ]
        | None
    )
    image_urls: Sequence[ImageSource]
    fallback_model: Literal["GPT_IMAGE_1", "FLUX_MAX"] | None
    """The model to fall back to: GPT_IMAGE_1 or FLUX_MAX."""
    mask_url: ImageSource | None
    """A public URL of a mask (black is changed, white is kept), with exactly one image."""
    quality: Literal["medium", "high"]
    """One of medium, high; it decides the price."""
    resolution: Literal["1K", "2K", "4K"]
    """One of 1K, 2K, 4K; it decides the price."""
    background: Literal["transparent", "opaque", "auto"] | None
    """One of transparent, opaque, auto."""
    edition: Literal["flare", "sunburst"]
    """One of flare, sunburst."""


class Flux1KontextTextToImage(OrderNotes, total=False):
    """Text-to-image by flux1-kontext."""

    model: Required[Literal["flux1-kontext"]]
    task: Required[Literal["text-to-image"]]
    quantity: Literal[1]
    prompt: Required[str]
    output_format: Literal["jpeg", "png"]
    enhance_prompt: bool
    translate_prompt: bool
    safety_tolerance: int
    watermark: str | None
    upload_cn: bool
    aspect_ratio: Literal["21:9", "16:9", "4:3", "1:1", "3:4", "9:16"]


class Flux1KontextImageToImage(OrderNotes, total=False):
    """Image-to-image by flux1-kontext."""

    model: Required[Literal["flux1-kontext"]]
    task: Required[Literal["image-to-image"]]
    quantity: Literal[1]
    prompt: Required[str]
    output_format: Literal["jpeg", "png"]
    enhance_prompt: bool
    translate_prompt: bool
    safety_tolerance: int
    watermark: str | None
    upload_cn: bool
    image_urls: Required[Sequence[ImageSource]]
    aspect_ratio: Literal["21:9", "16:9", "4:3", "1:1", "3:4", "9:16"] | None


class Gpt4oImageTextToImage(OrderNotes, total=False):
    """Text-to-image by gpt-4o-image."""

    model: Literal["gpt-4o-image"]
    task: Required[Literal["text-to-image"]]
    aspect_ratio: Required[Literal["1:1", "3:2", "2:3"]]
    quantity: Literal[1, 2, 4]
    enhance_prompt: bool
    fallback_model: Literal["GPT_IMAGE_1", "FLUX_MAX"] | None
    upload_cn: bool
    prompt: Required[str]


class Gpt4oImageImageToImage(OrderNotes, total=False):
    """Image-to-image by gpt-4o-image."""

    model: Literal["gpt-4o-image"]
    task: Required[Literal["image-to-image"]]
    aspect_ratio: Required[Literal["1:1", "3:2", "2:3"]]
    quantity: Literal[1, 2, 4]
    enhance_prompt: bool
    fallback_model: Literal["GPT_IMAGE_1", "FLUX_MAX"] | None
    upload_cn: bool
    image_urls: Required[Sequence[ImageSource]]
    prompt: str | None
    mask_url: ImageSource | None


class GptImage15TextToImage(OrderNotes, total=False):
    """Text-to-image by gpt-image-1.5."""

    model: Required[Literal["gpt-image-1.5"]]
    task: Required[Literal["text-to-image"]]
    quantity: Literal[1]
    prompt: Required[str]
    aspect_ratio: Required[Literal["1:1", "2:3", "3:2"]]
    quality: Required[Literal["medium", "high"]]


class GptImage15ImageToImage(OrderNotes, total=False):
    """Image-to-image by gpt-image-1.5."""

    model: Required[Literal["gpt-image-1.5"]]
    task: Required[Literal["image-to-image"]]
    quantity: Literal[1]
    prompt: Required[str]
    aspect_ratio: Required[Literal["1:1", "2:3", "3:2"]]
    quality: Required[Literal["medium", "high"]]
    image_urls: Required[Sequence[ImageSource]]


class GptImage2TextToImage(OrderNotes, total=False):
    """Text-to-image by gpt-image-2."""

    model: Required[Literal["gpt-image-2"]]
    task: Required[Literal["text-to-image"]]
    quantity: Literal[1]
    prompt: Required[str]
    resolution: Literal["1K", "2K", "4K"]
    background: Literal["transparent", "opaque", "auto"] | None
    aspect_ratio: Literal[
        "auto",
        "1:1",
        "3:2",
        "2:3",
        "4:3",
        "3:4",
        "5:4",
        "4:5",
        "16:9",
        "9:16",
        "2:1",
        "1:2",
        "3:1",
        "1:3",
        "21:9",
        "9:21",
    ]


class GptImage2ImageToImage(OrderNotes, total=False):
    """Image-to-image by gpt-image-2."""

    model: Required[Literal["gpt-image-2"]]
    task: Required[Literal["image-to-image"]]
    quantity: Literal[1]
    prompt: Required[str]
    resolution: Literal["1K", "2K", "4K"]
    background: Literal["transparent", "opaque", "auto"] | None
    aspect_ratio: Literal[
        "auto",
        "1:1",
        "3:2",
        "2:3",
        "4:3",
        "3:4",
        "5:4",
        "4:5",
        "16:9",
        "9:16",
        "2:1",
        "1:2",
        "3:1",
        "1:3",
        "21:9",
        "9:21",
    ]
    image_urls: Required[Sequence[ImageSource]]


class GptImage25TextToImage(OrderNotes, total=False):
    """Text-to-image by gpt-image-2-5."""

    model: Required[Literal["gpt-image-2-5"]]
    task: Required[Literal["text-to-image"]]
    quantity: Literal[1]
    prompt: Required[str]
    resolution: Literal["1K", "2K", "4K"]
    background: Literal["transparent", "opaque", "auto"] | None
    edition: Literal["flare", "sunburst"]
    aspect_ratio: Literal[
        "auto",
        "1:1",
        "3:2",
        "2:3",
        "4:3",
        "3:4",
        "16:9",
        "9:16",
        "21:9",
        "27:16",
        "16:27",
        "9:8",
        "8:9",
    ]


class GptImage25ImageToImage(OrderNotes, total=False):
    """Image-to-image by gpt-image-2-5."""

    model: Required[Literal["gpt-image-2-5"]]
    task: Required[Literal["image-to-image"]]
    quantity: Literal[1]
    prompt: Required[str]
    resolution: Literal["1K", "2K", "4K"]
    background: Literal["transparent", "opaque", "auto"] | None
    edition: Literal["flare", "sunburst"]
    aspect_ratio: Literal[
        "auto",
        "1:1",
        "3:2",
        "2:3",
        "4:3",
        "3:4",
        "16:9",
        "9:16",
        "21:9",
        "27:16",
        "16:27",
        "9:8",
        "8:9",
    ]
    image_urls: Required[Sequence[ImageSource]]


class Model4oImageApiTextToImage(OrderNotes, total=False):
    """Text-to-image by 4o-image-api."""

    model: Required[Literal["4o-image-api"]]
    task: Required[Literal["text-to-image"]]
    quantity: Literal[1]
    aspect_ratio: Required[Literal["1:1", "3:2", "2:3"]]
    prompt: Required[str]


class Model4oImageApiImageToImage(OrderNotes, total=False):
    """Image-to-image by 4o-image-api."""

    model: Required[Literal["4o-image-api"]]
    task: Required[Literal["image-to-image"]]
    quantity: Literal[1]
    aspect_ratio: Required[Literal["1:1", "3:2", "2:3"]]
    image_urls: Required[Sequence[ImageSource]]
    prompt: str | None


Order: TypeAlias = (
    Flux1KontextTextToImage
    | Flux1KontextImageToImage
    | Gpt4oImageTextToImage
    | Gpt4oImageImageToImage
    | GptImage15TextToImage
    | GptImage15ImageToImage
    | GptImage2TextToImage
    | GptImage2ImageToImage
    | GptImage25TextToImage
    | GptImage25ImageToImage
    | Model4oImageApiTextToImage
    | Model4oImageApiImageToImage
)
"""Any order."""
