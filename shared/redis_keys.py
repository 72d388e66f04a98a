"""The Redis keys and channels that several modules use.

Keys of one module alone are constants of that module. Values never change: processes of an older
version use the same Redis during an upgrade.
"""

from __future__ import annotations

from shared.kie_accounts import DEFAULT_ACCOUNT

CHANGES_CHANNEL = "darkroom:changes"
"""Each message names jobs for which events have just been committed."""
WAKE_UP_CHANNEL = "darkroom:wake"
"""A message asks workers to claim now. Names the queues, separated by spaces; empty means all."""
JOBS_WAIT = "darkroom:waiting"
"""In a wake-up, instead of a queue: jobs wait in Postgres to be chosen."""
RERUN_KEY_PREFIX = "darkroom:hasten:"
"""Followed by an arq id: the delivery runs once more after the current run."""
WRITE_PROBE_KEY = "darkroom:probe"
"""Written and published to by the readiness check, to find out whether Redis takes writes."""
ARQ_PROBE_KEY = "arq:probe"
"""The same below arq's prefix: access rules may differ by prefix."""
PRESENCES_KEY = "darkroom:processes"
"""A sorted set of the live processes, each scored by its newest heartbeat."""
LOST_WRITES_KEY = "darkroom:lost"
"""A hash with evidence that Postgres lost writes: by job id, or by `writes:` and an event id."""
NEWEST_EVENT_KEY = "darkroom:newest_event"
"""The newest event that Postgres had at the last comparison."""
WIPED_KEY = "darkroom:wiped"
"""When a running worker last found that Redis had lost its keys; expires after an hour."""
ECHO_CHANNEL_PREFIX = "darkroom:echo:"
"""Followed by a random name: a subscription publishes to it to check itself."""
SUBMIT_LOG_PREFIX = "darkroom:throttle:submit"
"""Followed by the name of a log, as `submit_log_name` returns it: a sorted set of the submits that
count in a window, each scored by the moment at which it stops counting."""
_BRAKE_KEY = "darkroom:brake"


def submit_log_name(account: str) -> str:
    """Return the name of the log of submits of this Kie account."""
    # The default account has the name from before there were several: running workers share the
    # log.
    return "kie" if account == DEFAULT_ACCOUNT else f"kie:{account}"


def brake_key(account: str) -> str:
    """Return the key of the brake and of the rate of submits of this Kie account."""
    # The default account has the key from before there were several accounts, so that workers of
    # both versions share its brake.
    return _BRAKE_KEY if account == DEFAULT_ACCOUNT else f"{_BRAKE_KEY}:{account}"


def family_brake_key(account: str, model: str) -> str:
    """Return the key of the brake of one model family at this Kie account."""
    return f"darkroom:family_brake:{account}:{model}"
