"""Long random walks over the rules of the model, with usual events more frequent than others.

Hypothesis disables rules at random and keeps examples short, which finds rare cases. A walk by
weights takes many jobs through many states at once. Both use the same rules and reference.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

from shared.domain.kie_outcomes import NoVerdict, Pending
from tests.model.answers import ANSWER_NAMES
from tests.model.kinds import KINDS
from tests.model.machine import LATE_SAYS, LATE_SECONDS, JobRules
from tests.model.money_rules import PARTS
from tests.model.pause_rules import ACCOUNTS, SCOPES
from tests.model.reference_order import PRIORITIES
from tests.model.stale_writes import WRITES

_Step = Callable[[JobRules, Random], object]
_States = tuple[str, ...]

_ANY: _States = ("queued", "submitting", "unknown", "generating", "succeeded", "failed")
_SETTLED: _States = ("queued", "unknown", "succeeded", "failed")
# The answers of which one that comes too late would cost most if it moved the job.
_WEIGHTY = ("accepted", "refused", "refused")
_EVENTS = sorted(WRITES, key=str)
# How often, in which states there must be a job, and what then happens.
_STEPS: tuple[tuple[int, _States, _Step], ...] = (
    (
        8,
        (),
        lambda rules, dice: rules.enqueue(
            dice.choice(ACCOUNTS),
            dice.choices(KINDS, k=dice.randint(1, 3)),
            has_keys=True,
            priority=dice.choice(PRIORITIES),
        ),
    ),
    (8, ("queued",), lambda rules, dice: rules.choose(dice.choice((1, 2, 5)))),
    (2, (), lambda rules, dice: rules.crowd(dice.choice((1, 2)))),
    (
        2,
        ("queued",),
        lambda rules, dice: (
            rules.pause(dice.choice(SCOPES[1:4]), "one", dice.random() < 0.5),
            rules.take_back(),
        ),
    ),
    (1, (), lambda rules, dice: rules.change_weight(dice.choice(ACCOUNTS), dice.choice((1, 3)))),
    (
        2,
        (),
        lambda rules, dice: rules.limit_open_jobs(
            dice.choice(ACCOUNTS), dice.choice((1, 2, None, None))
        ),
    ),
    (3, (), lambda rules, dice: rules.grant(dice.choice(ACCOUNTS), dice.choice((20, 20, -7)))),
    (3, (), lambda rules, dice: rules.change_price(dice.choice(KINDS), dice.randint(0, 12))),
    (1, (), lambda rules, dice: rules.schedule_price(dice.choice(KINDS), Decimal(9))),
    (
        2,
        (),
        lambda rules, dice: (
            rules.ref.scheduled
            and rules.time_of_a_price_comes(_any(dice), dice.random() < 0.2, dice.random() < 0.5)
        ),
    ),
    (
        2,
        ("succeeded",),
        lambda rules, dice: (
            any(job.charged for job in rules.ref.jobs.values())
            and rules.refund(_any(dice), dice.choice(PARTS))
        ),
    ),
    (1, (), lambda rules, dice: rules.pause(dice.choice(SCOPES), "one", dice.random() < 0.5)),
    (3, (), lambda rules, dice: rules.ref.pauses and rules.resume(-1 - dice.randrange(2))),
    (1, (), lambda rules, dice: rules.resume_scope(dice.choice(SCOPES))),
    (1, (), lambda rules, dice: (not rules.ref.route) and rules.change_route()),
    (3, (), lambda rules, dice: rules.ref.route and rules.change_route()),
    (3, _ANY, lambda rules, dice: rules.enqueue_again(_any(dice), dice.choice(KINDS))),
    (2, _ANY, lambda rules, dice: rules.cancel(_any(dice))),
    (2, _ANY, lambda rules, dice: rules.retry(_any(dice), again=dice.random() < 0.5)),
    (12, ("queued",), lambda rules, dice: rules.submit(_any(dice), dice.choice((1, 2)))),
    (10, ("queued",), lambda rules, dice: rules.submit_and_answer(_any(dice), _answer(dice))),
    (8, ("submitting",), lambda rules, dice: rules.deliver_again(_any(dice), dice.random() < 0.5)),
    (
        6,
        _ANY[1:],
        lambda rules, dice: rules.sleeper_writes(_any(dice), _any(dice), dice.choice(_EVENTS)),
    ),
    (
        8,
        ("generating",),
        lambda rules, dice: rules.kie_delivers(
            _any(dice), dice.randint(1, 5), dice.choice(("current", "quoted", "lower_of"))
        ),
    ),
    (2, ("generating",), lambda rules, dice: rules.kie_fails(_any(dice), _reason(dice))),
    (
        4,
        ("generating",),
        lambda rules, dice: rules.kie_is_not_done(
            _any(dice),
            dice.choice((Pending(0.25), Pending(0.5), NoVerdict("502"))),
            dice.choice(LATE_SECONDS),
        ),
    ),
    (
        6,
        ("generating",),
        lambda rules, dice: rules.kie_cannot_be_read(_any(dice), dice.choice(LATE_SECONDS)),
    ),
    (3, _SETTLED, lambda rules, dice: rules.poll_comes_late(_any(dice))),
    (3, ("queued", "submitting", "unknown"), lambda rules, dice: rules.an_hour_passes()),
    (3, ("unknown",), lambda rules, dice: rules.sweep()),
    (
        8,
        ("generating",),
        lambda rules, dice: rules.operator_settles(
            _any(dice), dice.choice((0, 1, 5)), dice.choice(("current", "quoted", "lower_of"))
        ),
    ),
    (
        4,
        ("unknown",),
        lambda rules, dice: rules.operator_resolves(
            _any(dice), dice.choice(("own", "wrong", "taken", "none"))
        ),
    ),
)


def walk(rules: JobRules, dice: Random, steps: int) -> None:
    """Take so many steps, each followed by the comparison."""
    rules.open(["queued", "generating", "unknown", "submitting"])
    for _ in range(steps):
        _step(rules, dice)
        rules.database_and_reference_agree()


def _step(rules: JobRules, dice: Random) -> None:
    roll = dice.random()
    overtaken = _overtaken(rules)
    if overtaken and roll < 0.25:
        rules.kie_answers(dice.choice(overtaken), dice.choice((_answer(dice), *_WEIGHTY)))
    elif rules.setup.hanging() and roll < 0.07:
        rules.kie_answers(_any(dice), _answer(dice))
    elif rules.setup.hanging() and roll < 0.09:
        rules.worker_crashes(_any(dice))
    elif any(rules.ref.attempts()) and roll < 0.25:
        claim = dice.choice(("own", "own", "own", "another's", "forged"))
        rules.callback_comes(_any(dice), claim, _any(dice))
    elif any(one.verdict is None for one in rules.ref.callbacks) and roll < 0.4:
        rules.callback_is_handled(_any(dice), dice.random() < 0.2, dice.random() < 0.5)
    elif any(rules.ref.open_late_tasks()) and roll < 0.43:
        rules.late_tasks_are_checked(dice.random() < 0.2, dice.choice(sorted(LATE_SAYS)))
    else:
        able = [row for row in _STEPS if not row[1] or rules.ref.jobs_in(*row[1])]
        (_, _, step) = dice.choices(able, [row[0] for row in able])[0]
        step(rules, dice)


def _overtaken(rules: JobRules) -> list[int]:
    """Return which POSTs hang whose job no longer waits for their answer."""
    jobs = rules.ref.jobs
    return [
        number
        for number, post in enumerate(rules.setup.hanging())
        if jobs[post.job_id].state not in {"submitting", "unknown"}
        or jobs[post.job_id].newest.token != post.token
    ]


def _several(dice: Random) -> list[int]:
    return [_any(dice) for _ in range(3)]


def _any(dice: Random) -> int:
    return dice.randrange(1_000)


def _reason(dice: Random) -> str:
    return dice.choice(("provider_failed", "content_policy"))


def _answer(dice: Random) -> str:
    return dice.choice((*ANSWER_NAMES, "accepted", "accepted", "accepted"))
