"""The ways in which a task can end, and how Kie reports each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """One end. Record-info and callbacks return ``error_code`` and ``error_message``."""

    name: str
    status: str
    error_code: int | None
    error_message: str
    success: bool = False
    # Overrides the failure flag switch, for an ending that no document describes.
    flag: int | None = None
    # The task ends when it is created, and the Market's record has no time of the end.
    at_once: bool = False

    @property
    def callback_code(self) -> int:
        """The ``code`` of the callback's envelope."""
        if self.success:
            return 200
        return self.error_code or 500


SUCCESS = TaskEnd("success", "SUCCESS", None, "", success=True)

_FAILURES = (
    TaskEnd(
        "generate_failed",
        "GENERATE_FAILED",
        500,
        "internal error, please try again later.",
    ),
    TaskEnd("create_task_failed", "CREATE_TASK_FAILED", 500, "Failed to get user token"),
    TaskEnd(
        "content_policy",
        "GENERATE_FAILED",
        400,
        "Your content was flagged by OpenAI as violating content policies",
    ),
    TaskEnd("image_fetch_failed", "GENERATE_FAILED", 451, "Failed to download the image"),
    TaskEnd("try_again", "GENERATE_FAILED", 400, "Internal Error, Please try again later."),
    TaskEnd("upload_failed", "GENERATE_FAILED", 500, "Upload failed: Server internal error."),
    TaskEnd("upstream_timed_out", "GENERATE_FAILED", 500, "upstream API service timed out"),
    TaskEnd("internal_error", "GENERATE_FAILED", None, "Internal Error", flag=3),
    TaskEnd("nsfw", "GENERATE_FAILED", 400, "nsfw"),
    TaskEnd(
        "failed_at_once",
        "CREATE_TASK_FAILED",
        422,
        "generate playground failed, task id is blank",
        at_once=True,
    ),
    TaskEnd("unknown_status", "ARCHIVED", None, "", flag=4),
)

TASK_ENDS: Mapping[str, TaskEnd] = MappingProxyType(
    {outcome.name: outcome for outcome in (SUCCESS, *_FAILURES)}
)
