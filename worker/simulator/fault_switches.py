"""The table of fault switches: each way in which the simulated provider can fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from .fault_values import (
    CODE,
    COUNT,
    FACTOR,
    OPTIONAL_SECONDS,
    RATE,
    SECONDS,
    TEXT,
    YES_OR_NO,
    SwitchDescription,
    choice_of,
)
from .task_ends import TASK_ENDS

JUNK = choice_of(
    *("none", "html", "html_200", "empty", "garbage", "not_object", "cloudflare"),
    *("no_route", "no_method", "redirect", "other_json"),
)
ERROR_FORM = choice_of("body", "status", "bare", "mixed")
MISSING_FORM = choice_of("422", "404", "null")
FAILURE_FLAG = choice_of("2", "3", "mixed")
TIME_FORM = choice_of("ms", "text", "iso")
RESPONSE_FORM = choice_of(
    *("object", "string", "null", "comma", "top", "result_json", "objects", "broken")
)
FAILED_RESPONSE = choice_of("null", "empty")
URL_SPELLING = choice_of("camel", "snake", "both")
PROGRESS_FORM = choice_of("by_clock", "by_duration", "stuck")
GENERATING_STATUS = choice_of("GENERATING", "QUEUED", "PENDING")
RUNNING_STATE = choice_of("by_time", "waiting", "queuing", "generating")
RETIRED = choice_of("none", "generate", "dedicated", "market")
DEAD_IMAGE = choice_of("404", "403")
BURST_SCOPE = choice_of("create", "poll", "all")
OUTCOME = choice_of(*TASK_ENDS, may_be_unset=True)
FORGED_KIND = choice_of(
    "body", "failure", "task", "token", "signature", "unsigned", "garbage", "all"
)


@dataclass(frozen=True, slots=True)
class FaultSwitches:
    """Every switch with its default, which is the behaviour of a healthy Kie.

    Rates are probabilities, drawn per request (create, poll, image) or per task (outcomes,
    callbacks) from the seeded randomness. Account-wide switches cannot stand in a prompt.
    """

    # The whole account.
    account_code: Annotated[
        int,
        SwitchDescription(
            CODE, "every route of the API answers this code (401, 455, …)", account_wide=True
        ),
    ] = 0
    refuse_default_user_agent: Annotated[
        bool,
        SwitchDescription(
            YES_OR_NO,
            "403 'error code: 1010' to a library's default User-Agent",
            account_wide=True,
        ),
    ] = False
    validation_code: Annotated[
        int,
        SwitchDescription(
            CODE,
            "code of a validation failure; 500 has the words that Kie was recorded to send; "
            "0 = 422, and 500 by the Market",
            account_wide=True,
        ),
    ] = 0
    retired_routes: Annotated[
        str,
        SwitchDescription(
            RETIRED,
            "routes that answer HTTP 404 as one that never was: generate of the 4o endpoint, "
            "all of it, or the Market's",
            account_wide=True,
        ),
    ] = "none"
    gone_model: Annotated[
        str, SwitchDescription(TEXT, "a Market model that Kie no longer has", account_wide=True)
    ] = ""
    paused_model: Annotated[
        str, SwitchDescription(TEXT, "a Market model that Kie has paused", account_wide=True)
    ] = ""
    gone_field: Annotated[
        str,
        SwitchDescription(
            TEXT,
            "a field of input that no Market model has any more: it is ignored, and charged as "
            "if left out",
            account_wide=True,
        ),
    ] = ""
    success_rate: Annotated[
        float,
        SwitchDescription(
            RATE, "each model's success rate of the last hour in the catalogue", account_wide=True
        ),
    ] = 0.99
    schema_unpublished: Annotated[
        bool,
        SwitchDescription(YES_OR_NO, "the catalogue has no schema of a model", account_wide=True),
    ] = False
    price_factor: Annotated[
        float, SwitchDescription(FACTOR, "multiplies every price of Kie", account_wide=True)
    ] = 1.0
    burst_code: Annotated[
        int,
        SwitchDescription(
            CODE, "code answered during bursts (455, 550, 429, 500)", account_wide=True
        ),
    ] = 0
    burst_every_seconds: Annotated[
        float, SwitchDescription(SECONDS, "a burst starts this often", account_wide=True)
    ] = 60.0
    burst_seconds: Annotated[
        float, SwitchDescription(SECONDS, "how long each burst lasts", account_wide=True)
    ] = 5.0
    burst_scope: Annotated[
        str, SwitchDescription(BURST_SCOPE, "which calls a burst refuses", account_wide=True)
    ] = "create"
    upload_code: Annotated[
        int, SwitchDescription(CODE, "uploads of files answer this code", account_wide=True)
    ] = 0
    upload_code_rate: Annotated[
        float,
        SwitchDescription(RATE, "share of uploads that answer upload_code", account_wide=True),
    ] = 1.0
    file_lifetime_seconds: Annotated[
        float,
        SwitchDescription(
            SECONDS,
            "so long an uploaded file is there; a task with one that is gone fails with 451",
            account_wide=True,
        ),
    ] = 86_400.0

    # The form of answers.
    error_form: Annotated[
        str,
        SwitchDescription(
            ERROR_FORM,
            "errors as HTTP 200 with the code in the body, as the real HTTP status with "
            "the same body, as a bare status and text, or any of it",
        ),
    ] = "body"
    missing_form: Annotated[
        str,
        SwitchDescription(
            MISSING_FORM, "how an unknown task is reported: 422, 404, or 200 without data"
        ),
    ] = "422"

    # Creating a task.
    submit_code: Annotated[
        int, SwitchDescription(CODE, "create is refused with this code, nothing is created")
    ] = 0
    submit_code_rate: Annotated[
        float, SwitchDescription(RATE, "share of creates that submit_code refuses")
    ] = 1.0
    submit_code_times: Annotated[
        int,
        SwitchDescription(COUNT, "refuse only the first N creates of one prompt; 0 = all of them"),
    ] = 0
    submit_code_creates: Annotated[
        bool, SwitchDescription(YES_OR_NO, "submit_code is answered although the task was created")
    ] = False
    create_junk: Annotated[
        str, SwitchDescription(JUNK, "create answers something that is no envelope")
    ] = "none"
    create_junk_rate: Annotated[
        float, SwitchDescription(RATE, "share of creates that answer create_junk")
    ] = 1.0
    create_junk_creates: Annotated[
        bool, SwitchDescription(YES_OR_NO, "create_junk is answered although the task was created")
    ] = False
    create_reset: Annotated[
        float, SwitchDescription(RATE, "connection reset before the task exists")
    ] = 0.0
    lost_reply: Annotated[
        float,
        SwitchDescription(RATE, "the task exists and is charged, the connection closes unanswered"),
    ] = 0.0
    create_hang: Annotated[
        float, SwitchDescription(RATE, "the task exists, the reply comes much later")
    ] = 0.0
    create_hang_seconds: Annotated[
        float, SwitchDescription(SECONDS, "how much later a hanging create replies")
    ] = 60.0

    # The end of the task.
    duration: Annotated[
        float | None,
        SwitchDescription(OPTIONAL_SECONDS, "exact duration of tasks; unset = the distribution"),
    ] = None
    never_ends: Annotated[float, SwitchDescription(RATE, "the task stays GENERATING for ever")] = (
        0.0
    )
    outcome: Annotated[
        str | None, SwitchDescription(OUTCOME, "how tasks end; unset = by the rates below")
    ] = None
    generate_failed_rate: Annotated[
        float, SwitchDescription(RATE, "share of tasks that end GENERATE_FAILED (500)")
    ] = 0.0
    create_task_failed_rate: Annotated[
        float, SwitchDescription(RATE, "share of tasks that end CREATE_TASK_FAILED")
    ] = 0.0
    content_policy_rate: Annotated[
        float, SwitchDescription(RATE, "share of tasks refused for content policy (400)")
    ] = 0.0
    image_fetch_failed_rate: Annotated[
        float, SwitchDescription(RATE, "share of tasks whose input cannot be fetched (451)")
    ] = 0.0
    unknown_status_rate: Annotated[
        float, SwitchDescription(RATE, "share of tasks that end with status ARCHIVED, flag 4")
    ] = 0.0
    success_without_urls: Annotated[
        float, SwitchDescription(RATE, "success, but the list of URLs is empty")
    ] = 0.0
    one_image: Annotated[
        bool,
        SwitchDescription(
            YES_OR_NO,
            "Kie ignores nVariants, maskUrl and all else that its page no longer has: one image, "
            "and 6 credits",
        ),
    ] = False
    missing_urls: Annotated[
        int, SwitchDescription(COUNT, "success with this many URLs fewer than asked")
    ] = 0

    # Queries of the task.
    visible_after_seconds: Annotated[
        float, SwitchDescription(SECONDS, "a new task is 'unknown' for this long")
    ] = 0.0
    poll_code: Annotated[
        int, SwitchDescription(CODE, "record-info answers this code instead of the task")
    ] = 0
    poll_code_rate: Annotated[
        float, SwitchDescription(RATE, "share of polls that answer poll_code")
    ] = 1.0
    poll_code_times: Annotated[
        int, SwitchDescription(COUNT, "only the first N polls of a task; 0 = all of them")
    ] = 0
    poll_junk: Annotated[
        str, SwitchDescription(JUNK, "record-info answers something that is no envelope")
    ] = "none"
    poll_junk_rate: Annotated[
        float, SwitchDescription(RATE, "share of polls that answer poll_junk")
    ] = 1.0
    poll_drop: Annotated[
        float, SwitchDescription(RATE, "a poll's connection is closed without an answer")
    ] = 0.0
    poll_reset: Annotated[
        float, SwitchDescription(RATE, "a poll's connection is reset without an answer")
    ] = 0.0
    poll_hang: Annotated[float, SwitchDescription(RATE, "a poll's answer comes much later")] = 0.0
    poll_hang_seconds: Annotated[
        float, SwitchDescription(SECONDS, "how much later a hanging poll answers")
    ] = 60.0

    # The shape of record-info.
    failure_flag: Annotated[str, SwitchDescription(FAILURE_FLAG, "successFlag of failed tasks")] = (
        "2"
    )
    market_state: Annotated[
        bool,
        SwitchDescription(
            YES_OR_NO, "record-info has the Market's state, and no flag and no status"
        ),
    ] = False
    omit_status: Annotated[
        bool, SwitchDescription(YES_OR_NO, "record-info has no status field")
    ] = False
    generating_status: Annotated[
        str, SwitchDescription(GENERATING_STATUS, "status word while running")
    ] = "GENERATING"
    running_state: Annotated[
        str,
        SwitchDescription(
            RUNNING_STATE, "the Market's state while running; by_time has all three in turn"
        ),
    ] = "by_time"
    time_form: Annotated[
        str, SwitchDescription(TIME_FORM, "times as epoch ms, 'YYYY-MM-DD HH:mm:ss' (UTC) or ISO Z")
    ] = "ms"
    response_form: Annotated[
        str,
        SwitchDescription(
            RESPONSE_FORM,
            "where a success has its URLs: response as an object, as JSON text, or null; one text "
            "with commas; at the top; resultJson; an object per image; or with a broken one",
        ),
    ] = "object"
    failed_response: Annotated[
        str,
        SwitchDescription(FAILED_RESPONSE, "response of a failure: null or an empty list of URLs"),
    ] = "null"
    url_spelling: Annotated[
        str, SwitchDescription(URL_SPELLING, "resultUrls, result_urls, or both")
    ] = "camel"
    success_error_code: Annotated[
        int, SwitchDescription(CODE, "errorCode of a success; an old document shows 400")
    ] = 0
    progress_form: Annotated[
        str,
        SwitchDescription(
            PROGRESS_FORM,
            "progress by time alone (betrays nothing), by the task's own duration "
            "(betrays when it ends), or stuck at 0.00",
        ),
    ] = "by_clock"

    # Callbacks.
    callback_lost: Annotated[float, SwitchDescription(RATE, "no callback is sent for the task")] = (
        0.0
    )
    callback_duplicates: Annotated[
        int, SwitchDescription(COUNT, "the callback is sent this many times more, at once")
    ] = 0
    callback_late_seconds: Annotated[
        float, SwitchDescription(SECONDS, "the callback comes this long after the end")
    ] = 0.0
    callback_early: Annotated[
        float,
        SwitchDescription(
            RATE, "a success callback comes before the reply to create, and is false"
        ),
    ] = 0.0
    callback_forged: Annotated[
        float, SwitchDescription(RATE, "a stranger's callback comes while the task runs")
    ] = 0.0
    callback_forged_kind: Annotated[
        str,
        SwitchDescription(
            FORGED_KIND,
            "what the stranger gets wrong: invented URLs under a good signature, an "
            "invented failure, another task's id, the token, the signature, no "
            "signature, no JSON, or one of each",
        ),
    ] = "body"

    # Images.
    image_lifetime_seconds: Annotated[
        float,
        SwitchDescription(
            SECONDS,
            "how long the link of an image works; download-url gives a fresh one",
        ),
    ] = 86_400.0
    image_retention_seconds: Annotated[
        float, SwitchDescription(SECONDS, "so long after the end there is the image at all")
    ] = 14 * 86_400.0
    fresh_link_lifetime_seconds: Annotated[
        float, SwitchDescription(SECONDS, "how long a link of download-url works")
    ] = 1_200.0
    dead_image_status: Annotated[
        str, SwitchDescription(DEAD_IMAGE, "HTTP status of a link that no longer works")
    ] = "404"
    download_url_code: Annotated[
        int, SwitchDescription(CODE, "download-url answers this code instead of a link")
    ] = 0
    image_pixels: Annotated[
        int, SwitchDescription(COUNT, "the shorter side of an image, at most 4096")
    ] = 1_024
    image_kib: Annotated[
        int, SwitchDescription(COUNT, "an image is padded to this many KiB; 0 = as drawn")
    ] = 0
    image_error_rate: Annotated[
        float, SwitchDescription(RATE, "share of image downloads that answer HTTP 503")
    ] = 0.0
