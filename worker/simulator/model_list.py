"""The models of the simulator, for people and tests: of both endpoints, with their prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal

from shared.catalog import list_families
from shared.catalog.families import gpt4o_image

from .create_request import CREDITS_BY_QUANTITY, DEDICATED, KNOWN_FIELDS
from .fault_switches import FaultSwitches
from .market_models import list_models
from .market_request import MARKET


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model. ``credits`` is by quantity on the dedicated endpoint, else by variant."""

    family: str
    model: str
    endpoint: str
    credits: Mapping[str, float]
    fields: tuple[str, ...]

    def describe(self) -> dict[str, object]:
        """Return its row of ``GET /simulator/models``."""
        return asdict(self)

    def format_line(self) -> str:
        """Return its line of the page and of ``--list-models``."""
        prices = ", ".join(f"{name} {cost:g}".strip() for name, cost in self.credits.items())
        return f"{self.family:<16} {self.model:<38} {self.endpoint:<10} {prices}"


def describe_models(faults: FaultSwitches) -> list[ListedModel]:
    """Return every model that Kie has now."""
    factor = Decimal(str(faults.price_factor))

    def list_model(
        family: str, model: str, endpoint: str, credits: Mapping[str, Decimal], fields: list[str]
    ) -> ListedModel:
        costs = {name: float(cost * factor) for name, cost in credits.items()}
        return ListedModel(family, model, endpoint, costs, tuple(sorted(fields)))

    by_quantity = {str(quantity): credits for quantity, credits in CREDITS_BY_QUANTITY.items()}
    name = gpt4o_image.FAMILY.name
    known = list_models(faults)
    return [
        list_model(name, name, DEDICATED, by_quantity, [*KNOWN_FIELDS]),
        *(
            list_model(
                family.name,
                one.name,
                MARKET,
                one.credits,
                [*known[one.name].input_schema["properties"]],
            )
            for family in list_families().values()
            for one in family.kie_models
            if one.name in known
        ),
    ]
