"""The routes of pauses. `routes.py` has all routes."""

from __future__ import annotations

from collections.abc import Mapping

from producer.api.endpoint import LIMIT, OPERATOR_ROLES, ROW_CURSOR, Endpoint, Parameter
from producer.api.handlers import pause_handlers
from producer.api.responses.http_errors import PauseNotFound
from producer.keys.roles import Role
from producer.list_pages import MAX_ROW_ID, PAGE_BYTES
from shared.errors import DarkroomError


def _pause_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return PauseNotFound(parts["id"])


PAUSE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/pauses",
        handler=pause_handlers.list_pauses,
        name="listPauses",
        summary="List pauses of submits, newest first",
        tag="pauses",
        roles=OPERATOR_ROLES | {Role.VIEWER},
        parameters=(
            Parameter(
                "active",
                {"type": "string", "enum": ["true", "false"]},
                "only those that are active, or only those that have ended",
            ),
            LIMIT,
            ROW_CURSOR,
        ),
        responses={200: "PausePage"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/pauses",
        handler=pause_handlers.start_pause,
        name="startPause",
        summary="Pause submits of everything, a model, an account or a Kie account",
        tag="pauses",
        roles=OPERATOR_ROLES,
        body="PauseStart",
        responses={200: "Pause"},
        problems=(404, 422),
    ),
    Endpoint(
        method="POST",
        path="/v1/pauses/{id}/resume",
        handler=pause_handlers.resume_pause,
        name="resumePause",
        summary="End a pause",
        tag="pauses",
        roles=OPERATOR_ROLES,
        path_schemas={"id": {"type": "integer", "minimum": 1, "maximum": MAX_ROW_ID}},
        not_found=_pause_not_found,
        responses={200: "Pause"},
        problems=(404,),
    ),
    Endpoint(
        method="POST",
        path="/v1/brakes/end",
        handler=pause_handlers.end_brakes,
        name="endBrakes",
        summary="End what workers have paused by themselves for a Kie account",
        tag="pauses",
        roles=OPERATOR_ROLES,
        body="BrakeEnd",
        responses={200: "EndedBrakes"},
        problems=(422,),
    ),
)
