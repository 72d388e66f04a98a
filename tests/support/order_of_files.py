"""Orders the files of the suite so that they share two processors well.

Some files wait for most of their time, for leases, intervals and restarts. All others compute. If
they ran one kind after the other, the processors would be idle first and overloaded then. So the
kinds are mixed evenly, and the longest waits begin first: none is left alone at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

WAITING = {
    "tests/acceptance/test_shared_redis.py": 150,
    "tests/integration/worker/test_failing_kie.py": 100,
    "tests/acceptance/faults/test_kie_faults.py": 90,
    "tests/integration/embedded/test_places.py": 80,
    "tests/acceptance/test_outages.py": 80,
    "tests/acceptance/test_crashes.py": 70,
    "tests/acceptance/test_openapi.py": 70,
    "tests/acceptance/faults/test_server_faults.py": 70,
    "tests/failover/test_failed_over_clients.py": 70,
    "tests/acceptance/faults/test_process_faults.py": 65,
    "tests/acceptance/test_kie_answers.py": 65,
    "tests/acceptance/test_locked_rows.py": 65,
    "tests/acceptance/faults/test_job_faults.py": 60,
    "tests/campaign/test_short_campaign.py": 60,
    "tests/acceptance/cli/test_cli_money.py": 60,
    "tests/integration/embedded/test_killing.py": 60,
    "tests/failover/test_short_failover.py": 55,
    "tests/acceptance/test_late_images.py": 55,
    "tests/acceptance/test_skewed_clocks.py": 55,
    "tests/acceptance/test_refusing_servers.py": 55,
    "tests/acceptance/test_callbacks.py": 50,
    "tests/acceptance/faults/test_servers_away.py": 50,
    "tests/acceptance/test_webhooks.py": 45,
    "tests/acceptance/test_examples.py": 45,
    "tests/acceptance/cli/test_cli_own_roles.py": 45,
    "tests/acceptance/cli/test_cli_services.py": 40,
    "tests/hostile/test_short_hostile.py": 40,
    "tests/browser/test_console_pages.py": 40,
    "tests/acceptance/test_kie_accounts.py": 35,
    "tests/acceptance/cli/test_cli_resolve.py": 35,
    "tests/acceptance/cli/test_cli_jobs.py": 35,
    "tests/acceptance/cli/test_many_jobs_cli.py": 35,
    "tests/acceptance/cli/test_cli_operating.py": 30,
    "tests/integration/embedded/test_sharing.py": 30,
    "tests/acceptance/cli/test_pauses_cli.py": 30,
    "tests/integration/producer/test_doctor_processes.py": 25,
    "tests/browser/test_console_jobs.py": 25,
    "tests/acceptance/cli/test_cli_given_servers.py": 25,
    "tests/integration/worker/test_webhook_lane.py": 25,
    "tests/acceptance/cli/test_late_images_cli.py": 25,
}
"""Files that take long though they compute little, and for how many seconds when alone."""


def order_files(files: Iterable[str]) -> list[str]:
    """Return the files in the order in which they begin, each of them once."""
    given = list(dict.fromkeys(files))
    waiting = [file for file in WAITING if file in set(given)]
    computing = [file for file in given if file not in WAITING]
    return list(_mix(waiting, computing))


def _mix(waiting: Sequence[str], computing: Sequence[str]) -> Iterator[str]:
    """Yield both in their orders. What is yielded of each grows evenly, waits by their seconds."""
    total_seconds = sum(WAITING[file] for file in waiting)
    seconds, taken = 0, 0
    for file in waiting:
        yield file
        seconds += WAITING[file]
        due = seconds * len(computing) // total_seconds
        yield from computing[taken:due]
        taken = due
    yield from computing[taken:]
