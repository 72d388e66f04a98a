"""Grants credits to an account, and refunds charges of jobs."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid4

from producer.actor import MAX_REASON_LENGTH
from producer.api.requests.query_parameters import read_credits
from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.console.pages.money.accounts_page import account_path
from producer.console.text_filters import count_credits
from producer.jobs.job_mask import mask_job
from producer.money.grants import GrantConflict
from producer.plain_numbers import CREDITS_MAX, has_price_decimals, read_decimal
from shared.errors import Fault, InvalidRequest

_KEY = "idempotency_key"


async def ask_grant(call: PageCall) -> PageView:
    """Show the form of a grant or an adjustment, with the key by which it is booked once."""
    account = await call.billing.account(call.part("id"))
    is_used = _KEY in call.faults or not call.form.get(_KEY)
    values = {
        "account": account,
        "reason_length": MAX_REASON_LENGTH,
        "key": str(uuid4()) if is_used else call.form[_KEY],
    }
    return PageView("money/grant.html", values)


async def grant(call: PageCall) -> Redirect:
    """Grant credits, or take them if negative."""
    faults: list[Fault] = []
    credits = _read_grant(call.form.get("credits", ""), faults)
    key = call.form.get(_KEY)
    if not key:
        faults.append(Fault(_KEY, "is missing: send the form again"))
    reason = read_reason(call, faults)
    try:
        account = await call.billing.grant(
            call.part("id"),
            credits,
            reason,
            allow_debt=call.form.get("allow_debt") == "yes",
            idempotency_key=key,
            actor=call.actor,
        )
    except GrantConflict as error:
        sentence = "this form was booked already, with other values; to book these as well, send it"
        raise InvalidRequest([Fault(_KEY, f"{sentence} again")]) from error
    if account.is_replayed:
        return Redirect(account_path(account.id), "This was booked already. Nothing was added.")
    verb = "granted" if credits > 0 else "taken"
    booked = count_credits(abs(credits), "credit was", "credits were")
    return Redirect(account_path(account.id), f"{booked} {verb}.")


async def ask_refund(call: PageCall) -> PageView:
    """Show what the job was charged, and the form of a refund."""
    job = await call.producer.get(call.part("id"))
    details = await call.producer.job_details(job.id)
    refunds = [entry for entry in details["entries"] if entry["kind"] == "adjustment"]
    values = {
        "job": job if call.sees_prompts else mask_job(job),
        "refund": refunds[0] if refunds else None,
        "reason_length": MAX_REASON_LENGTH,
    }
    return PageView("money/refund.html", values)


async def refund(call: PageCall) -> Redirect:
    """Give back what the job was charged, or a part of it, once."""
    job = await call.producer.get(call.part("id"))
    faults: list[Fault] = []
    text = call.form.get("credits", "")
    credits = read_credits(text, CREDITS_MAX) if text else None
    if text and not credits:
        faults.append(Fault("credits", "must be a number above 0, with at most 2 decimals"))
    reason = read_reason(call, faults)
    entry = await call.billing.refund(UUID(str(job.id)), credits, reason=reason, actor=call.actor)
    returned = count_credits(entry["credits"], "credit was", "credits were")
    return Redirect(f"{CONSOLE}/jobs/{job.id}", f"{returned} returned to {job.account_id}.")


def _read_grant(text: str, faults: list[Fault]) -> Decimal:
    credits = read_decimal(text) or Decimal(0)
    if not (0 < abs(credits) <= CREDITS_MAX and has_price_decimals(credits)):
        span = f"-{CREDITS_MAX:,} to {CREDITS_MAX:,}"
        wanted = f"must be a number from {span}, not 0, with at most 2 decimals"
        faults.append(Fault("credits", wanted))
    return credits


def read_reason(call: PageCall, faults: list[Fault]) -> str:
    """Return the reason. Raises `InvalidRequest` with the faults found so far, if any."""
    reason = call.form.get("reason", "")
    if not 1 <= len(reason) <= MAX_REASON_LENGTH:
        faults.append(Fault("reason", f"say why, in 1 to {MAX_REASON_LENGTH} characters"))
    if faults:
        raise InvalidRequest(faults)
    return reason
