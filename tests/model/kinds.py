"""The kinds of jobs that the model enqueues, each with a price of its own."""

from __future__ import annotations

from typing import NamedTuple

from producer.money.price_key import PriceKey
from shared.catalog import ImageRequest
from shared.catalog.families import gpt_image_2
from tests.support.deployment import text_to_image

TASK = "text-to-image"
ROUTED_MODEL, ROUTE = "gpt-4o-image", "4o-image-api"
"""The model that another family can send, and that family."""


class Kind(NamedTuple):
    """What moves the price of a job."""

    quantity: int
    variant: str = ""

    @property
    def model(self) -> str:
        """The model, of which only one has variants."""
        return "gpt-image-2" if self.variant else ROUTED_MODEL

    def family_by(self, route: str | None) -> str | None:
        """Return the family that sends it while this route is in force; None: that of its model."""
        return route if self.model == ROUTED_MODEL else None

    def is_carried(self, route: str | None) -> bool:
        """Whether it can be sent while this route is in force."""
        return self.family_by(route) is None or self.quantity == 1

    @property
    def price_key(self) -> PriceKey:
        """The key of its price."""
        return PriceKey(self.model, TASK, *self)

    def build_request(self) -> ImageRequest:
        """Return a request of this kind."""
        if not self.variant:
            return text_to_image(quantity=self.quantity)
        fields = {"prompt": "a lighthouse", "aspect_ratio": "3:2", "resolution": self.variant}
        return gpt_image_2.FAMILY.validate(TASK, fields)


KINDS = (Kind(1), Kind(2), Kind(4), Kind(1, "2K"), Kind(1, "4K"))
