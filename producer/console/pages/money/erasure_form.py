"""The form that erases the prompts and images of an account."""

from __future__ import annotations

from producer.console.page import PageCall, PageView, Redirect
from producer.console.pages.money.account_actions import read_reason
from producer.console.pages.money.accounts_page import account_path, check_typed_account
from shared.domain.counted import counted
from shared.errors import Fault

_WITHIN_SECONDS = 10.0
"""How long a request erases. Workers do the rest."""


async def ask_erasure(call: PageCall) -> PageView:
    """Show of how many jobs prompts and images are stored, and ask."""
    stored = await call.producer.prompt_erasures.preview(call.part("id"))
    return PageView("money/erasure.html", {"stored": stored})


async def erase(call: PageCall) -> Redirect:
    """Erase prompts and images as far as a few seconds allow."""
    account_id = call.part("id")
    faults: list[Fault] = []
    check_typed_account(call, faults)
    erasure = await call.producer.prompt_erasures.erase(
        account_id,
        reason=read_reason(call, faults),
        actor=call.actor,
        within_seconds=_WITHIN_SECONDS,
    )
    notice = f"Erased of {counted(erasure.jobs, 'job')}."
    if erasure.ended_at is None:
        notice = f"{notice} Workers erase the rest, {erasure.waiting:,} of them when they end."
    if erasure.copies_advice:
        notice = f"{notice} {erasure.copies_advice}."
    return Redirect(account_path(account_id), notice)
