"""The process of the attackers: opens hostile connections evenly over a time."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from random import Random

import orjson

from tests.hostile.attack_kinds import ANSWER_SECONDS, KINDS, Attack, Kind, Target

_AFTER_SECONDS = ANSWER_SECONDS + 1
"""The time for answers on connections that are open at the end."""


async def attack(target: Target, connections: int, seconds: float, seed: int) -> dict[str, object]:
    """Open the connections. Return their number, and their outcomes by kind."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    random = Random(seed)
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    kinds = random.choices(list(KINDS), list(KINDS.values()), k=connections)
    # Each kind at least once.
    kinds[: len(KINDS)] = list(KINDS)[:connections]
    most_open = 0
    open_now: set[asyncio.Task[None]] = set()

    async def one(kind: Kind, number: int) -> None:
        try:
            outcome = await kind(Attack(target, number, began + seconds))
        except (OSError, TimeoutError):
            outcome = "not connected"
        outcomes[kind.__name__][outcome] += 1

    for number, kind in enumerate(kinds):
        await asyncio.sleep(max(0.0, began + number * seconds / connections - loop.time()))
        task = asyncio.create_task(one(kind, number))
        open_now.add(task)
        task.add_done_callback(open_now.discard)
        most_open = max(most_open, len(open_now))
    await asyncio.wait(open_now, timeout=max(0.0, began + seconds + _AFTER_SECONDS - loop.time()))
    for task in open_now:
        task.cancel()
    return {"connections": len(kinds), "most_open": most_open, "outcomes": outcomes}


def main() -> int:
    """Attack by the options in the argument, a JSON object. Writes the outcomes as JSON."""
    given = orjson.loads(sys.argv[1])
    target = Target(**given.pop("target"))
    told = asyncio.run(attack(target, **given))
    sys.stdout.write(orjson.dumps(told, default=dict).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
