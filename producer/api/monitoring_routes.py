"""The routes of the overview and of the history. `routes.py` has all routes."""

from __future__ import annotations

from producer.api.endpoint import OPERATOR_ROLES, Endpoint, Parameter
from producer.api.handlers import monitoring_handlers
from producer.keys.key_store import Role
from producer.list_pages import PAGE_BYTES
from producer.monitoring.history import HISTORY_HOURS_DEFAULT, HISTORY_HOURS_MAX

_ROLES = OPERATOR_ROLES | {Role.VIEWER}
"""The roles that see every account."""

MONITORING_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/overview",
        handler=monitoring_handlers.show_overview,
        name="getOverview",
        summary="Show the figures of the queue, what is wrong, and the last failures",
        tag="monitoring",
        roles=_ROLES,
        responses={200: "Overview"},
        problems=(422,),
    ),
    Endpoint(
        method="GET",
        path="/v1/history",
        handler=monitoring_handlers.show_history,
        name="getHistory",
        summary="Show the samples of the queue of the last hours, oldest first",
        tag="monitoring",
        roles=_ROLES,
        parameters=(
            Parameter(
                "hours",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": HISTORY_HOURS_MAX,
                    "default": HISTORY_HOURS_DEFAULT,
                },
                "how far to look back; up to 2 in intervals of 15 s, more in intervals of 5 min",
            ),
        ),
        responses={200: "History"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
)
