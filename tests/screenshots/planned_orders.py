"""Plans the orders of the screenshots: what four accounts order in two weeks, always the same."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Literal, get_args

from shared.catalog import ImageRequest
from shared.catalog.families.gpt4o_image import ImageToImage, TextToImage

End = Literal["success", "content_policy", "image_fetch_failed", "cancelled"]
HOUR = 3600.0
DAY = 24 * HOUR
_BATCHES = (
    *((640, 20), (410, 24), (230, 30), (95, 26)),
    *((58, 36), (47, 60), (36, 30), (28, 80), (19, 44), (11, 60), (5, 28)),
)
"""Minutes ago, and how many orders come at once."""
_BUDGET, _WINDOW_SECONDS = 20, 10.0
_SUBJECTS = (
    "a lighthouse on a basalt cliff at dusk",
    "a paper boat crossing a rain-wet street",
    "a brass diving helmet on black velvet",
    "an alpine hut under the Milky Way",
    "a ceramic teapot in the shape of a heron",
    "a red fox asleep in fresh snow",
    "a market hall of glass and green iron",
    "a botanical plate of wild artichokes",
    "an orange tram in a narrow hillside lane",
    "a whale drawn in a single ink line",
    "a greenhouse full of citrus trees, morning",
    "a chess set carved from sea ice",
)
_STYLES = (
    "35 mm film, soft grain",
    "flat vector poster, two inks",
    "studio photograph, white background",
    "watercolour on cold-pressed paper",
    "isometric illustration",
    "long exposure, deep blue hour",
)
ACCOUNTS = {
    "halcyon-prints": 14_000,
    "northlight-studio": 8_000,
    "paperboat-games": 19_000,
    "riverside-museum": 2_400,
}
"""The accounts and what each was granted at first."""
_SHARES = (0.34, 0.27, 0.31, 0.08)
_ORDER_PREFIXES = {
    "halcyon-prints": "print",
    "northlight-studio": "shoot",
    "paperboat-games": "asset",
    "riverside-museum": "exhibit",
}


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """An order, and when in the past it was accepted, submitted and ended."""

    account_id: str
    request: ImageRequest
    metadata: dict[str, Any]
    idempotency_key: str
    end: End
    accepted_ago: float
    """Seconds before now, as the others."""
    submitted_ago: float
    ended_ago: float


def plan_orders(seed: int = 17) -> list[PlannedOrder]:
    """Return the orders, oldest first: twelve quiet days, one fuller day, and a busy hour.

    Batches of orders fill the budget of submits for a while.
    """
    dice = Random(seed)
    accepted = [dice.uniform(DAY * 1.1, DAY * 13) for _ in range(2000)]
    accepted += [dice.triangular(1.2 * HOUR, DAY, 9 * HOUR) for _ in range(150)]
    accepted += [dice.uniform(70.0, 1.2 * HOUR) for _ in range(230)]
    for minutes, orders in _BATCHES:
        accepted += [minutes * 60.0 - index * 0.05 for index in range(orders)]
    slots: list[float] = []
    return [
        _plan_order(dice, number, ago, slots)
        for number, ago in enumerate(sorted(accepted, reverse=True), start=1)
    ]


def _plan_order(dice: Random, number: int, ago: float, slots: list[float]) -> PlannedOrder:
    (account_id,) = dice.choices(tuple(ACCOUNTS), _SHARES)
    (end,) = dice.choices(get_args(End), (0.945, 0.03, 0.015, 0.01))
    request = _choose_request(dice, needs_image=end == "image_fetch_failed")
    submitted = min(ago - dice.uniform(0.2, 0.9), *_when_budget_allows(slots))
    slots.append(submitted)
    run_seconds = min(dice.lognormvariate(3.6, 0.45), 120.0)
    if end == "cancelled":
        run_seconds = 4.0
    order = f"{_ORDER_PREFIXES[account_id]}-{2000 + number}"
    return PlannedOrder(
        account_id,
        request,
        {"order": order, "channel": dice.choice(("web", "app", "partner"))},
        order,
        end,
        ago,
        submitted,
        max(submitted - run_seconds, 2.0),
    )


def _when_budget_allows(slots: list[float]) -> list[float]:
    """Return when the next submit is allowed, if the budget has a say."""
    return [slots[-_BUDGET] - _WINDOW_SECONDS] if len(slots) >= _BUDGET else [float("inf")]


def _choose_request(dice: Random, *, needs_image: bool) -> ImageRequest:
    prompt = f"{dice.choice(_SUBJECTS)}, {dice.choice(_STYLES)}"
    values: dict[str, Any] = {
        "prompt": prompt,
        "aspect_ratio": dice.choice(("1:1", "3:2", "3:2", "2:3")),
        "quantity": dice.choices((1, 2, 4), (0.55, 0.3, 0.15))[0],
    }
    if needs_image or dice.random() < 0.3:
        picture = f"https://images.example.com/uploads/{dice.randrange(10**8):08d}.png"
        return ImageToImage(image_urls=[picture], **values)
    return TextToImage(**values)
