"""The routes of the overview, of the history and of what Kie says. `routes.py` has all routes."""

from __future__ import annotations

from producer.api.endpoint import ADMIN_ONLY, LIMIT, OPERATOR_ROLES, Endpoint, Parameter
from producer.api.handlers import kie_handlers, monitoring_handlers
from producer.keys.roles import Role
from producer.list_pages import MAX_WAITING_LIMIT, PAGE_BYTES, WAITING_LIMIT
from producer.monitoring.history import HISTORY_HOURS_DEFAULT, HISTORY_HOURS_MAX
from producer.monitoring.kie_models import SURPRISE_DAYS, SURPRISE_DAYS_DEFAULT

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
        path="/v1/queue/waiting",
        handler=monitoring_handlers.show_waiting,
        name="getWaiting",
        summary="Show which accounts wait, who is served next, and when the backlog ends",
        tag="monitoring",
        roles=_ROLES,
        parameters=(
            Parameter(
                "limit",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_WAITING_LIMIT,
                    "default": WAITING_LIMIT,
                },
                "how many accounts and priorities at most",
            ),
        ),
        responses={200: "Waiting"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
    Endpoint(
        method="GET",
        path="/v1/lost-writes",
        handler=monitoring_handlers.show_lost_writes,
        name="getLostWrites",
        summary="Show the jobs, tasks and events that Postgres has lost, as far as workers know",
        tag="monitoring",
        roles=_ROLES,
        responses={200: "LostWrites"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/alerts/acknowledge",
        handler=monitoring_handlers.acknowledge_alert,
        name="acknowledgeAlert",
        summary="Delete the evidence of an alert that has been dealt with",
        tag="monitoring",
        roles=OPERATOR_ROLES,
        body="AlertAcknowledgement",
        responses={200: "Acknowledgement"},
        max_response_bytes=PAGE_BYTES,
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
    Endpoint(
        method="GET",
        path="/v1/retention",
        handler=monitoring_handlers.show_retention,
        name="getRetention",
        summary="Say what a prune would delete, by kind of data",
        tag="monitoring",
        roles=_ROLES,
        responses={200: "Retention"},
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/retention/prune",
        handler=monitoring_handlers.prune_data,
        name="pruneData",
        summary="Delete what is older than its days, for good",
        description="As far as a few seconds allow. Workers do the same by themselves.",
        tag="monitoring",
        roles=ADMIN_ONLY,
        responses={200: "PrunedData"},
        problems=(409, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/kie/models",
        handler=kie_handlers.list_kie_models,
        name="listKieModels",
        summary="List Kie's models that are used here, and what Kie's catalogue last said of each",
        tag="monitoring",
        roles=_ROLES,
        responses={200: "KieModels"},
        problems=(422,),
    ),
    Endpoint(
        method="GET",
        path="/v1/kie/surprises",
        handler=kie_handlers.list_kie_surprises,
        name="listKieSurprises",
        summary="List what Kie's responses contained and Darkroom does not know, newest first",
        tag="monitoring",
        roles=_ROLES,
        parameters=(
            Parameter(
                "days",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": SURPRISE_DAYS,
                    "default": SURPRISE_DAYS_DEFAULT,
                },
                "how many days to look back, in UTC",
            ),
            LIMIT,
        ),
        responses={200: "KieSurprises"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
)
