"""The key of a price, and the sentence that names one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import PriceMissing

if TYPE_CHECKING:
    from shared.catalog import ImageRequest

VARIANT_MAX = 40
"""The longest variant, in characters."""
_LISTED_MAX = 20


class PriceKey(NamedTuple):
    """The key of a row of `pricing`."""

    model: str
    task: str
    quantity: int
    variant: str = ""
    """What moves the price besides the quantity, such as `2K`. Empty if nothing does."""

    @classmethod
    def of_request(cls, request: ImageRequest) -> PriceKey:
        """Return the key of the price that a request costs."""
        return cls(request.model, request.task, request.price_quantity, request.price_variant)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> PriceKey:
        """Return the key in a row that has its columns."""
        return cls(row["model"], row["task"], row["quantity"], row["variant"])

    def __str__(self) -> str:
        """Return the key as SQL and audit entries name it: `gpt-image-2 text-to-image 1 2K`."""
        return " ".join(str(part) for part in self if part != "")


AnyPriceKey = PriceKey | tuple[str, str, int]
"""A key. Without a variant, the price has none."""


def price_missing(key: PriceKey, rows: Iterable[Mapping[str, Any]]) -> PriceMissing:
    """Return the error for a price that does not exist. `rows` are those of `pricing`.

    The error names up to 20 prices that exist, those of the same or a similar model first.
    """

    def difference(one: PriceKey) -> float:
        return 1 - SequenceMatcher(None, one.model, key.model).ratio()

    keys = sorted((PriceKey.of_row(row) for row in rows), key=difference)
    priced = [str(one) for one in keys[:_LISTED_MAX]]
    return PriceMissing(key.model, key.task, key.quantity, variant=key.variant, priced=priced)
