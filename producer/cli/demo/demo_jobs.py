"""The seven jobs of the demo, of which six succeed, and their expected costs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.catalog import ImageRequest
from shared.catalog.families.gpt4o_image import ImageToImage, TextToImage

ACCOUNT = "demo"
_PHOTO = "https://example.com/photo.png"


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One job to run and how it should end."""

    request: ImageRequest
    succeeds: bool


DEMO_JOBS = (
    DemoJob(TextToImage(prompt="a lighthouse at dusk", aspect_ratio="3:2"), True),
    DemoJob(TextToImage(prompt="the same, in fog", aspect_ratio="2:3", quantity=2), True),
    DemoJob(TextToImage(prompt="a harbour in four seasons", aspect_ratio="1:1", quantity=4), True),
    DemoJob(
        ImageToImage(prompt="as a woodcut", image_urls=[_PHOTO], aspect_ratio="1:1"),
        True,
    ),
    DemoJob(
        ImageToImage(prompt="at night", image_urls=[_PHOTO], aspect_ratio="3:2", quantity=2),
        True,
    ),
    DemoJob(
        ImageToImage(prompt="in four styles", image_urls=[_PHOTO], aspect_ratio="2:3", quantity=4),
        True,
    ),
    DemoJob(
        TextToImage(
            prompt="what Kie refuses to draw [[sim: outcome=content_policy, duration=2]]",
            aspect_ratio="1:1",
            quantity=2,
        ),
        False,
    ),
)


@dataclass(frozen=True, slots=True)
class ExpectedCosts:
    """The costs of the demo's jobs at the prices at its start."""

    prices: tuple[Decimal, ...]

    @property
    def held(self) -> Decimal:
        """The credits that all jobs hold together."""
        return sum(self.prices, Decimal(0))

    @property
    def charged(self) -> Decimal:
        """The credits that are charged for the successful jobs."""
        pairs = zip(DEMO_JOBS, self.prices, strict=True)
        return sum((price for demo_job, price in pairs if demo_job.succeeds), Decimal(0))
