"""What Kie may answer to a POST, and what each answer means for the attempt."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from shared.domain.kie_outcomes import (
    Accepted,
    AccountBlocked,
    Ambiguous,
    ModelGone,
    Refused,
    SubmitOutcome,
    TryLater,
    WrongEndpoint,
)

# By name: the outcome for a task id, what it means for the attempt, and its reason.
SUBMIT_ANSWERS: dict[str, Callable[[str], tuple[SubmitOutcome, str, str]]] = {
    "accepted": lambda task: (Accepted(task), "accepted", ""),
    "rate limited": lambda _: (TryLater("rate_limited", "429"), "deferred", "rate_limited"),
    "blocked": lambda _: (AccountBlocked("402", 402), "deferred", "account_refused"),
    "wrong endpoint": lambda _: (WrongEndpoint("404"), "deferred", "wrong_endpoint"),
    "model gone": lambda _: (ModelGone("422"), "deferred", "model_gone"),
    "refused": lambda _: (Refused("bad", 400), "rejected", "rejected"),
    "broken": lambda _: (Ambiguous("server_error", "502"), "ambiguous", "server_error"),
    "lost": lambda _: (Ambiguous("reply_lost", "timeout"), "ambiguous", "reply_lost"),
}
ANSWER_NAMES = sorted(SUBMIT_ANSWERS)
ANSWERS = st.sampled_from((*ANSWER_NAMES, "accepted", "accepted", "lost"))
