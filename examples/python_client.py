"""Places a job and follows it to its end, with the package darkroom-client.

Once, in a checkout of Darkroom:        pip install ./clients/python
Beside `darkroom up`, once:             darkroom accounts create acme --credits 100
Then:

    python examples/python_client.py --account acme --prompt "a lighthouse at dusk"

DARKROOM_URL says where the API is, DARKROOM_API_KEY holds the key, where one is needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from darkroom_client import Darkroom, DarkroomError, Job


def place(given: argparse.Namespace) -> Job:
    """Place a job, and show its events on stderr as they come. Return the job when it has ended."""
    order: dict[str, Any] = {
        "account_id": given.account,
        "prompt": given.prompt,
        "aspect_ratio": given.aspect_ratio,
        "quantity": given.quantity,
        "webhook_url": given.webhook_url,
    }
    with Darkroom() as darkroom:
        job = darkroom.enqueue(**order, idempotency_key=given.idempotency_key)
        print(f"job {job.id}: {job.credits_quoted} credits held", file=sys.stderr)
        for event in job.events():
            print(f"  {event.at.isoformat()}  {event.event}", file=sys.stderr)
        job = job.wait()
        if given.save:
            job.raise_for_failure().save_images(given.save)
        return job


def main() -> int:
    """Place a job by the command line, and print what became of it as JSON."""
    parser = argparse.ArgumentParser(description="Place a job and follow it to its end.")
    parser.add_argument("--account", help="who pays; a service key has its own account")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--aspect-ratio", default="3:2", help="1:1, 3:2 or 2:3")
    parser.add_argument("--quantity", type=int, default=1, help="1, 2 or 4")
    parser.add_argument("--idempotency-key", help="the same key is the same job, for ever")
    parser.add_argument("--webhook-url", help="receives a signed POST when the job ends")
    parser.add_argument("--save", metavar="FOLDER", help="where to write the images")
    try:
        job = place(parser.parse_args())
    except (DarkroomError, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    shown = {
        "id": job.id,
        "state": job.state,
        "reason": job.reason,
        "result_urls": job.result_urls,
        "credits_charged": None if job.credits_charged is None else float(job.credits_charged),
    }
    print(json.dumps(shown, indent=2))
    return 0 if job.has_succeeded else 4


if __name__ == "__main__":
    sys.exit(main())
