"""The routes of prices, accounts, statements and the margin. `routes.py` has all routes."""

from __future__ import annotations

from collections.abc import Mapping

from producer.api.endpoint import (
    ADMIN_ONLY,
    ALL_ROLES,
    DATA_URL_BODY_BYTES,
    ENQUEUE_ROLES,
    JOB_BODY_BYTES,
    LIMIT,
    OPERATOR_ROLES,
    READER_ROLES,
    ROW_CURSOR,
    Endpoint,
    Parameter,
)
from producer.api.handlers import billing_handlers, kie_handlers, price_handlers
from producer.api.handlers.job_handlers import REPLAYED_HEADER
from producer.api.operator_routes import JOB_ID, job_not_found
from producer.api.requests.quote_query import quote_fields
from producer.api.requests.request_parts import KEY_PATTERN
from producer.api.responses.http_errors import PriceNotFound
from producer.list_pages import MAX_ROW_ID, PAGE_BYTES
from producer.money.margins import MarginGroup
from producer.money.price_key import VARIANT_MAX
from producer.orders.field_limits import ACCOUNT_LENGTH, KEY_LENGTH
from shared.errors import DarkroomError, ScheduledPriceNotFound

ACCOUNT_ID = {"id": {"type": "string", "minLength": 1, "maxLength": ACCOUNT_LENGTH}}
_PRICE = {"quantity": {"type": "integer", "minimum": 1, "maximum": price_handlers.MAX_QUANTITY}}
_CREDITS = {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,2})?$", "examples": ["9"]}
_VARIANT = Parameter(
    "variant",
    {"type": "string", "maxLength": VARIANT_MAX, "default": ""},
    "the variant of the price, such as `2K`; empty: the price has none",
)
_PERIOD = (
    Parameter(
        "from",
        {"type": "string", "format": "date", "examples": ["2026-01-01"]},
        "the first day in UTC, or a time with its timezone; default: of the month of `to`, and of"
        " the margin 30 days before",
    ),
    Parameter(
        "to",
        {"type": "string", "format": "date", "examples": ["2026-02-01"]},
        "the day after the last one in UTC, or a time with its timezone; default: now",
    ),
)


def _price_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return PriceNotFound(parts["model"], parts["task"], parts["quantity"])


def _scheduled_price_not_found(parts: Mapping[str, str]) -> DarkroomError:
    del parts
    return ScheduledPriceNotFound(0)


_QUOTE_PARAMETERS = tuple(
    Parameter(
        name,
        {"type": "array", "items": {"type": "string"}}
        if "array" in types
        else {"type": next(iter(sorted(types - {"null", "string"})), "string")}
        if "string" not in types
        else {"type": "string"},
        "as in the body of POST /v1/jobs",
    )
    for name, types in quote_fields().items()
)

MONEY_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/quote",
        handler=billing_handlers.show_quote,
        name="getQuote",
        summary="Say what a job would cost and when it would be submitted, before it is placed",
        tag="jobs",
        roles=ENQUEUE_ROLES,
        parameters=_QUOTE_PARAMETERS,
        responses={200: "Quote"},
        problems=(422,),
        description="Checks the order like POST /v1/jobs. Nothing is stored or held.",
    ),
    Endpoint(
        method="POST",
        path="/v1/quote",
        handler=billing_handlers.quote_order,
        name="quoteOrder",
        summary="Say what the job of a body would cost and when it would be submitted",
        tag="jobs",
        roles=ENQUEUE_ROLES,
        body="JobOrder",
        body_limit=DATA_URL_BODY_BYTES,
        chunked_body_limit=JOB_BODY_BYTES,
        responses={200: "Quote"},
        problems=(422,),
        description="Takes the body of POST /v1/jobs. Nothing is stored, held or uploaded.",
    ),
    Endpoint(
        method="GET",
        path="/v1/prices",
        handler=price_handlers.list_prices,
        name="listPrices",
        summary="List the prices in force",
        tag="prices",
        roles=ALL_ROLES,
        responses={200: "Prices"},
        problems=(422,),
    ),
    Endpoint(
        method="PUT",
        path="/v1/prices/{model}/{task}/{quantity}",
        handler=price_handlers.change_price,
        name="changePrice",
        summary="Change a price, from the next settlement",
        tag="prices",
        roles=ADMIN_ONLY,
        path_schemas=_PRICE,
        not_found=_price_not_found,
        parameters=(_VARIANT,),
        body="PriceChange",
        responses={200: "Price"},
        problems=(404, 409, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/prices/{model}/{task}/{quantity}/preview",
        handler=price_handlers.preview_price,
        name="previewPrice",
        summary="Show what a change of a price would do, and change nothing",
        tag="prices",
        roles=READER_ROLES,
        path_schemas=_PRICE,
        not_found=_price_not_found,
        parameters=(
            _VARIANT,
            Parameter("credits", _CREDITS, "the new price; absent: as it is"),
            Parameter("provider_credits", _CREDITS, "what Kie will charge; absent: as it is"),
        ),
        responses={200: "PricePreview"},
        problems=(404, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/prices/history",
        handler=price_handlers.list_history,
        name="listPriceHistory",
        summary="List every price that ever held, newest first",
        tag="prices",
        roles=READER_ROLES,
        parameters=(LIMIT,),
        responses={200: "PriceVersions"},
        problems=(422,),
    ),
    Endpoint(
        method="GET",
        path="/v1/prices/comparison",
        handler=kie_handlers.compare_prices,
        name="comparePrices",
        summary="List the prices in force beside what Kie's price texts name",
        tag="prices",
        roles=READER_ROLES,
        responses={200: "ComparedPrices"},
        problems=(422,),
    ),
    Endpoint(
        method="GET",
        path="/v1/scheduled-prices",
        handler=price_handlers.list_scheduled,
        name="listScheduledPrices",
        summary="List scheduled price changes: those that wait, then settled ones",
        tag="prices",
        roles=READER_ROLES,
        parameters=(LIMIT,),
        responses={200: "ScheduledPrices"},
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/scheduled-prices",
        handler=price_handlers.schedule_price,
        name="schedulePrice",
        summary="Schedule a price change, which is applied automatically",
        tag="prices",
        roles=ADMIN_ONLY,
        body="ScheduledPriceOrder",
        responses={200: "ScheduledPrice"},
        problems=(404, 409, 422),
    ),
    Endpoint(
        method="POST",
        path="/v1/scheduled-prices/{id}/revoke",
        handler=price_handlers.revoke_scheduled,
        name="revokeScheduledPrice",
        summary="Revoke a scheduled price change before its time",
        tag="prices",
        roles=ADMIN_ONLY,
        path_schemas={"id": {"type": "integer", "minimum": 1, "maximum": MAX_ROW_ID}},
        not_found=_scheduled_price_not_found,
        responses={200: "ScheduledPrice"},
        problems=(404, 409),
    ),
    Endpoint(
        method="POST",
        path="/v1/jobs/{id}/refund",
        handler=billing_handlers.refund_job,
        name="refundJob",
        summary="Give back what a job was charged, or a part of it, once",
        tag="accounts",
        roles=ADMIN_ONLY,
        path_schemas=JOB_ID,
        not_found=job_not_found,
        body="Refund",
        responses={200: "LedgerEntry"},
        problems=(404, 409, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/margin",
        handler=billing_handlers.show_margin,
        name="getMargin",
        summary="Show what accounts were charged less what Kie charged",
        tag="accounts",
        roles=READER_ROLES,
        parameters=(
            Parameter(
                "by",
                {"type": "string", "enum": list(MarginGroup), "default": "day"},
                "what the rows are grouped by",
            ),
            *_PERIOD,
            LIMIT,
        ),
        responses={200: "Margin"},
        problems=(422,),
    ),
    Endpoint(
        method="GET",
        path="/v1/accounts",
        handler=billing_handlers.list_accounts,
        name="listAccounts",
        summary="List accounts, by id",
        tag="accounts",
        roles=READER_ROLES,
        parameters=(
            LIMIT,
            Parameter("cursor", ACCOUNT_ID["id"], "`next_cursor` of the page before"),
        ),
        responses={200: "AccountPage"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/accounts",
        handler=billing_handlers.create_account,
        name="createAccount",
        summary="Create an account, with credits if asked",
        tag="accounts",
        roles=ADMIN_ONLY,
        body="NewAccount",
        responses={201: "Account"},
        response_headers=("Location",),
        problems=(409, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/accounts/{id}/statement",
        handler=billing_handlers.show_statement,
        name="getStatement",
        summary="Show an account's statement of a period, with its lines, oldest first",
        tag="accounts",
        roles=ALL_ROLES,
        path_schemas=ACCOUNT_ID,
        parameters=(*_PERIOD, LIMIT, ROW_CURSOR),
        responses={200: "Statement"},
        max_response_bytes=PAGE_BYTES,
        problems=(404, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/accounts/{id}/statement.csv",
        handler=billing_handlers.download_statement,
        name="downloadStatement",
        summary="Download all lines of an account's statement as CSV",
        tag="accounts",
        roles=ALL_ROLES,
        path_schemas=ACCOUNT_ID,
        parameters=_PERIOD,
        responses={200: "StatementCsv"},
        response_type="text/csv",
        max_response_bytes=2 * PAGE_BYTES,
        problems=(404, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/accounts/{id}",
        handler=billing_handlers.show_account,
        name="getAccount",
        summary="Show an account's credits and limits",
        tag="accounts",
        roles=ALL_ROLES,
        path_schemas=ACCOUNT_ID,
        responses={200: "Account"},
        problems=(404, 422),
    ),
    Endpoint(
        method="PATCH",
        path="/v1/accounts/{id}",
        handler=billing_handlers.set_limits,
        name="setAccountLimits",
        summary="Set limits of an account, from the next order",
        tag="accounts",
        roles=OPERATOR_ROLES,
        path_schemas=ACCOUNT_ID,
        body="LimitsChange",
        responses={200: "Account"},
        problems=(404, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/accounts/{id}/ledger",
        handler=billing_handlers.list_ledger,
        name="listLedger",
        summary="List an account's ledger, newest first",
        tag="accounts",
        roles=ALL_ROLES,
        path_schemas=ACCOUNT_ID,
        parameters=(
            LIMIT,
            ROW_CURSOR,
        ),
        responses={200: "LedgerPage"},
        max_response_bytes=PAGE_BYTES,
        problems=(404, 422),
    ),
    Endpoint(
        method="POST",
        path="/v1/accounts/{id}/erase-prompts",
        handler=billing_handlers.erase_prompts,
        name="erasePrompts",
        summary="Erase the prompts and links of images of all jobs that an account has now",
        description="For good. Of ended jobs at once, of open ones when they end. Workers finish"
        " what takes longer than a few seconds.",
        tag="accounts",
        roles=ADMIN_ONLY,
        path_schemas=ACCOUNT_ID,
        body="Erasure",
        responses={200: "PromptErasure"},
        problems=(404, 409, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/accounts/{id}/erasures",
        handler=billing_handlers.list_erasures,
        name="listErasures",
        summary="List the erasures of an account's prompts and how far each is, newest first",
        tag="accounts",
        roles=READER_ROLES,
        path_schemas=ACCOUNT_ID,
        parameters=(LIMIT,),
        responses={200: "PromptErasures"},
        problems=(404, 422),
    ),
    Endpoint(
        method="POST",
        path="/v1/accounts/{id}/grants",
        handler=billing_handlers.grant,
        name="grantCredits",
        summary="Grant credits to an account, or take them where negative",
        tag="accounts",
        roles=ADMIN_ONLY,
        path_schemas=ACCOUNT_ID,
        parameters=(
            Parameter(
                "Idempotency-Key",
                {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": KEY_LENGTH,
                    "pattern": KEY_PATTERN,
                },
                "the same key of the same account gets the first ledger entry again",
                location="header",
            ),
        ),
        body="Grant",
        responses={200: "GrantedAccount"},
        response_headers=(REPLAYED_HEADER,),
        problems=(404, 409, 422),
    ),
)
