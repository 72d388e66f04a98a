"""The credit route of the simulator."""

from __future__ import annotations

from .provider_state import Caller, SimulatedProvider
from .responses import RefusedError, SimulatedResponse, success


def answer_credit(kie: SimulatedProvider, caller: Caller) -> SimulatedResponse:
    """GET /api/v1/chat/credit: the balance as a float, failed tasks already refunded."""
    kie.finish_due_tasks()
    try:
        account = kie.check_caller(caller, "other")
    except RefusedError as refused:
        return refused.reply
    return success(float(account.balance))
