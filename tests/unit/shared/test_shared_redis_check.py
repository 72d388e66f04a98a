"""Processes detect that they do not share one Redis, but not by a single missing presence."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
import structlog

from shared.adapters.processes.process_records import (
    HeartbeatResult,
    LiveWorker,
    Process,
    ProcessKind,
)
from shared.adapters.processes.redis_presence import Presence
from shared.adapters.processes.shared_redis_check import (
    RedisSharing,
    SharedRedisCheck,
    differing_keys,
    differing_limits,
)
from shared.errors import ConfigurationError
from shared.kie_accounts import KieKey, key_fingerprints, parse_account_keys

OWN, OLD, YOUNG, STRANGE = (UUID(int=n) for n in (2, 1, 3, 9))
STARTED = 1_000.0


def a_process(kind: ProcessKind = "worker", **limits: int) -> Process:
    return Process(kind, redis="b:6379/0", database="db/mine", name="own:1", id=OWN, limits=limits)


def a_worker(who: UUID, marked: float, **limits: int) -> LiveWorker:
    started = STARTED + (-100 if who == OLD else 100)
    return LiveWorker(who, f"w{who.int}:1", "a:6379/0", limits, {}, started, marked)


def a_mark(who: UUID, since: float = STARTED, seen: float = STARTED) -> Presence:
    return Presence(who, int(since * 1000), int(seen * 1000), "worker", f"w{who.int}:1", "db/other")


def a_heartbeat(
    at: float,
    *workers: LiveWorker,
    presences: tuple[Presence, ...] | None = (),
    unknown: frozenset[UUID] = frozenset(),
) -> HeartbeatResult:
    own = None if presences is None else (a_mark(OWN, seen=at), *presences)
    return HeartbeatResult(own, workers, unknown, STARTED, at)


def states_after(check: SharedRedisCheck, *heartbeats: HeartbeatResult) -> list[str]:
    states = []
    for result in heartbeats:
        check.update(result)
        states.append(str(check.state))
    return states


def test_alone_it_is_proven_at_once_and_not_before() -> None:
    check = SharedRedisCheck(a_process())
    assert not check.may_claim()
    assert states_after(check, a_heartbeat(1000, presences=None)) == ["open"]
    assert states_after(check, a_heartbeat(1005)) == ["proven"]
    assert check.may_claim()


async def test_an_older_worker_that_continues_writing_elsewhere_refutes_it() -> None:
    check = SharedRedisCheck(a_process())
    states = states_after(
        check,
        a_heartbeat(1000, a_worker(OLD, 998)),
        a_heartbeat(1001, a_worker(OLD, 998)),
        a_heartbeat(1002, a_worker(OLD, 998)),
        a_heartbeat(1003.5, a_worker(OLD, 1003)),
        a_heartbeat(1004, a_worker(OLD, 1003)),
    )
    assert states == ["open"] * 4 + ["refuted"]
    for word in ("w1:1", "a:6379/0", "b:6379/0", "REDIS_URL"):
        assert word in check.reason
    with pytest.raises(ConfigurationError, match="uses another Redis"):
        await check.check()


def test_a_worker_that_was_killed_refutes_nothing_and_is_forgotten() -> None:
    check = SharedRedisCheck(a_process())
    dead = a_worker(OLD, 998)
    states = states_after(
        check, *(a_heartbeat(1000 + n, dead) for n in range(12)), a_heartbeat(1013.1)
    )
    assert states == ["open"] * 12 + ["proven"]


def test_a_wiped_redis_is_a_doubt_that_the_next_heartbeat_removes() -> None:
    check = SharedRedisCheck(a_process())
    states = states_after(
        check,
        a_heartbeat(1000, a_worker(OLD, 998), presences=(a_mark(OLD),)),
        a_heartbeat(1005, a_worker(OLD, 1003)),
        a_heartbeat(1010, a_worker(OLD, 1008), presences=(a_mark(OLD),)),
        a_heartbeat(1015, a_worker(OLD, 1013)),
        a_heartbeat(1020, a_worker(OLD, 1018), presences=(a_mark(OLD),)),
    )
    assert states == ["proven"] * 5


def test_a_redis_key_that_may_have_expired_proves_nothing() -> None:
    check = SharedRedisCheck(a_process())
    # Beats that come late, as those of a machine that was asleep.
    states = states_after(
        check,
        a_heartbeat(1000, a_worker(OLD, 998)),
        a_heartbeat(1011, a_worker(OLD, 1010)),
        a_heartbeat(1023, a_worker(OLD, 1022)),
    )
    assert states == ["open"] * 3


def test_of_two_redises_the_oldest_workers_is_the_right_one() -> None:
    oldest = SharedRedisCheck(a_process())
    heartbeats = [a_heartbeat(1000 + 5 * n, a_worker(YOUNG, 998 + 5 * n)) for n in range(4)]
    assert states_after(oldest, *heartbeats) == ["proven"] * 4
    # A third worker with the oldest's Redis continues, whichever worker uses another one.
    third = SharedRedisCheck(a_process())
    heartbeats = [
        a_heartbeat(
            1000 + 5 * n,
            a_worker(OLD, 998 + 5 * n),
            a_worker(YOUNG, 998 + 5 * n),
            presences=(a_mark(OLD),),
        )
        for n in range(4)
    ]
    assert states_after(third, *heartbeats) == ["proven"] * 4


def test_it_may_claim_again_when_the_other_is_found_or_gone() -> None:
    refuting = [a_heartbeat(1000 + 5 * n, a_worker(OLD, 998 + 5 * n)) for n in range(3)]
    found = SharedRedisCheck(a_process())
    assert states_after(found, *refuting)[-1] == "refuted"
    assert states_after(
        found, a_heartbeat(1015, a_worker(OLD, 1013), presences=(a_mark(OLD),))
    ) == ["proven"]
    gone = SharedRedisCheck(a_process())
    assert states_after(gone, *refuting, a_heartbeat(1030))[-2:] == ["refuted", "proven"]


def test_without_redis_nothing_new_is_known() -> None:
    check = SharedRedisCheck(a_process())
    heartbeats = [
        a_heartbeat(1000 + 5 * n, a_worker(OLD, 998 + 5 * n), presences=None) for n in range(4)
    ]
    assert states_after(check, a_heartbeat(995), *heartbeats) == ["proven"] * 5


def test_an_api_is_judged_by_any_worker_and_is_ready_until_it_is_refuted() -> None:
    api = SharedRedisCheck(a_process("api"))
    heartbeats = [a_heartbeat(1000 + 5 * n, a_worker(YOUNG, 998 + 5 * n)) for n in range(3)]
    assert states_after(api, *heartbeats) == ["open", "open", "refuted"]


@pytest.mark.parametrize(
    ("since", "seen", "states"),
    [
        (900.0, (999.0, 1004.0, 1009.0), ["open", "refuted", "refuted"]),
        (900.0, (999.0, 999.0, 999.0), ["open"] * 3),
        (1001.0, (1001.0, 1004.0, 1009.0), ["proven"] * 3),
    ],
    ids=["was here first and lives", "was here first and says no more", "came later"],
)
def test_another_database_in_this_redis(
    since: float, seen: tuple[float, ...], states: list[str]
) -> None:
    check = SharedRedisCheck(a_process())
    heartbeats = [
        a_heartbeat(
            1000 + 5 * n, presences=(a_mark(STRANGE, since, moment),), unknown=frozenset({STRANGE})
        )
        for n, moment in enumerate(seen)
    ]
    assert states_after(check, *heartbeats) == states
    if check.state is RedisSharing.NOT_SHARED:
        for word in ("w9:1", "db/other", "b:6379/0"):
            assert word in check.reason


def test_the_doubt_is_logged_once_as_an_error_and_so_is_its_end() -> None:
    check = SharedRedisCheck(a_process())
    with structlog.testing.capture_logs() as logs:
        states_after(
            check, *(a_heartbeat(1000 + 5 * n, a_worker(OLD, 998 + 5 * n)) for n in range(6))
        )
    assert [(line["event"], line["log_level"]) for line in logs] == [("redis_not_shared", "error")]


def test_settings_that_differ_are_named_with_both_values() -> None:
    own = a_process(KIE_SUBMITS_PER_10_SECONDS=20, KIE_POLLS_PER_SECOND_PER_TASK=3)
    same = a_worker(OLD, 1, KIE_SUBMITS_PER_10_SECONDS=20, KIE_POLLS_PER_SECOND_PER_TASK=3)
    other = a_worker(YOUNG, 1, KIE_SUBMITS_PER_10_SECONDS=5)
    assert differing_limits(own, (same,)) == ""
    assert differing_limits(own, (same, other)) == (
        "KIE_SUBMITS_PER_10_SECONDS is 20 here, 5 at w3:1"
    )
    with structlog.testing.capture_logs() as logs:
        SharedRedisCheck(own).update(a_heartbeat(1000, other))
    assert [(line["event"], line["log_level"]) for line in logs] == [("limits_differ", "warning")]


def with_keys(worker: LiveWorker, **keys: str) -> LiveWorker:
    return replace(worker, key_fingerprints=keys)


@pytest.mark.parametrize(
    ("own", "others", "said"),
    [
        ({"default": "1"}, [{"default": "1"}], ""),
        ({"default": "1"}, [{}], ""),
        ({}, [{"default": "1"}], ""),
        ({"a": "1"}, [{"b": "2"}], ""),
        ({"default": "1"}, [{"default": "2"}], "account default is another at w1:1"),
        (
            {"a": "1", "b": "2"},
            [{"a": "1", "b": "3"}, {"a": "9", "b": "2"}],
            "account a is another at w3:1; the key of the Kie account b is another at w1:1",
        ),
        ({"a": "1"}, [{"b": "1"}], "account a is that of b at w1:1"),
        ({"a": "1", "b": "2"}, [{"a": "2", "b": "1"}], "account a is another at w1:1"),
    ],
)
def test_keys_that_differ_are_named_by_account_and_worker(
    own: dict[str, str], others: list[dict[str, str]], said: str
) -> None:
    workers = [
        with_keys(a_worker(who, 1), **keys) for who, keys in zip((OLD, YOUNG), others, strict=False)
    ]
    result = replace(a_heartbeat(1000, *workers), key_fingerprints=own)
    assert said in differing_keys(result)
    assert bool(differing_keys(result)) is bool(said)
    check = SharedRedisCheck(a_process())
    with structlog.testing.capture_logs() as logs:
        for one in (result, result, a_heartbeat(1010)):
            check.update(one)
    told = [(line["log_level"], line["change"]) for line in logs if line["event"] == "keys_differ"]
    assert told == ([("warning", "began"), ("info", "over")] if said else [])


def test_a_fingerprint_tells_equal_keys_and_no_key() -> None:
    keys = parse_account_keys("a=sk-123,b=sk-456")
    found = key_fingerprints(keys, "salt")
    assert found == key_fingerprints(keys, "salt")
    assert len({*found.values(), *key_fingerprints(keys, "other").values()}) == 4
    assert {len(text) for text in found.values()} == {16}
    assert key_fingerprints(parse_account_keys("c=sk-123"), "salt")["c"] == found["a"]
    assert "sk-123" not in repr(a_process_with(keys))


def a_process_with(keys: tuple[KieKey, ...]) -> Process:
    return Process("worker", redis="b:6379/0", database="db/mine", keys=keys)
