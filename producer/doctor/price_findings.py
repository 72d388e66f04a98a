"""Checks whether the catalog and the rows of `pricing` name the same requests."""

from __future__ import annotations

from producer.doctor.finding import Finding
from producer.money.price_key import PriceKey
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.row_dicts import as_dicts
from shared.catalog import list_families

_MAX_NAMED = 10


async def check_prices(queries: Queries) -> Finding:
    """Return the finding about prices that no request can need, and requests without a price.

    A request without a price is no fault: an admin may have stopped to sell it.
    """
    needed = {
        PriceKey(name, *key)
        for name, family in list_families().items()
        for key in family.price_keys
    }
    priced = {PriceKey.of_row(row) for row in as_dicts(await queries.fetch("list_prices"))}
    unsold = _named("; refused, because pricing has no row: {}", needed - priced)
    unneeded = _named("no request of this version can have these prices: {}", priced - needed)
    return Finding(
        "prices fit the catalog",
        not unneeded,
        (unneeded or "every price is that of a request") + unsold,
        "if a name is mistyped, insert the right row and DELETE this one; if another version of"
        " Darkroom has the model, nothing is wrong"
        if unneeded
        else None,
    )


def _named(sentence: str, keys: set[PriceKey]) -> str:
    names = sorted(map(str, keys))
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return sentence.format(", ".join(names[:_MAX_NAMED]) + more) if names else ""
