"""The routes of accounts, prices and files."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import MAXYEAR, UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from darkroom_client.testing.accounts import Accounts, MemoryAccount, credits_number, now_text
from darkroom_client.testing.checks.field_checks import Fault, shown
from darkroom_client.testing.checks.order_check import (
    MemoryOrder,
    check_order,
    read_time,
    time_of,
)
from darkroom_client.testing.http_server import MemoryRequest, MemoryResponse, Route
from darkroom_client.testing.image_types import read_image_head
from darkroom_client.testing.job_filters import limit_faults, page_of, parse_query
from darkroom_client.testing.jobs import Jobs, new_id
from darkroom_client.testing.problem import Refusal, invalid_request
from darkroom_client.testing.request_parts import (
    RequestParts,
    read_json,
    require_account,
)

_ROW_ID_MAX = 2**63 - 1
_SERVED_FOR = timedelta(hours=24)
_KINDS = ("grant", "refund", "adjustment", "capture")
_CSV = ("id", "time", "kind", "job_id", "model", "task", "quantity")


class AccountRoutes:
    """Answers requests about credits and files."""

    def __init__(self, accounts: Accounts, jobs: Jobs, url_of: Callable[[str], str]) -> None:
        self._accounts, self._jobs, self._url_of = accounts, jobs, url_of
        self._files: dict[str, dict[str, Any]] = {}

    def routes(self) -> Sequence[Route]:
        """Return every route. The first that matches answers."""
        return (
            Route("GET", "/v1/prices", self.prices),
            Route("GET", "/v1/quote", self.quote),
            Route("POST", "/v1/quote", self.quote_order),
            Route("GET", "/v1/accounts/{id}", self.account),
            Route("GET", "/v1/accounts/{id}/ledger", self.ledger),
            Route("GET", "/v1/accounts/{id}/statement", self.statement),
            Route("GET", "/v1/accounts/{id}/statement.csv", self.statement_csv),
            Route("POST", "/v1/files", self.upload),
            Route("GET", "/v1/files/{id}", self.file),
        )

    def prices(self, request: MemoryRequest) -> MemoryResponse:
        """List every price."""
        return MemoryResponse(200, {"prices": self._accounts.prices})

    def quote(self, request: MemoryRequest) -> MemoryResponse:
        """Say what an order would cost. Here no job waits for another."""
        body: dict[str, Any] = dict(request.query)
        if "quantity" in body and body["quantity"].isdecimal():
            body["quantity"] = int(body["quantity"])
        if "image_urls" in body:
            body["image_urls"] = [body["image_urls"]]
        return self._quote(request, check_order(body, request.account_id))

    def quote_order(self, request: MemoryRequest) -> MemoryResponse:
        """Say the same for the body of an order."""
        body, parts = read_json(request), RequestParts()
        parts.read(lambda: parse_query(request, ()), request.query)
        return self._quote(request, parts.read_last(lambda: check_order(body, request.account_id)))

    def _quote(self, request: MemoryRequest, order: MemoryOrder) -> MemoryResponse:
        account = self._own(request, order.account_id)
        credits, price_id = self._accounts.price(
            order.model, order.task, order.quantity, order.variant
        )
        is_scheduled = order.run_at is not None and order.run_at > datetime.now(UTC)
        starts_at = order.run_at if is_scheduled and order.run_at else datetime.now(UTC)
        quote = {
            "model": order.model,
            "task": order.task,
            "quantity": order.quantity,
            "credits": credits_number(credits),
            "price_id": price_id,
            "variant": order.variant,
            "account_id": account.id,
            "priority": order.priority,
            "available": credits_number(account.balance - account.held),
            "position": None if is_scheduled else 1,
            "estimated_start_at": _text(starts_at),
            "expected_wait_seconds": max((starts_at - datetime.now(UTC)).total_seconds(), 0.0),
            "wait_reason": None,
        }
        return MemoryResponse(200, quote)

    def account(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """Show the credits of an account."""
        return MemoryResponse(200, self._own(request, account_id).to_json())

    def ledger(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """List the movements of credits."""
        entries = self._own(request, account_id).entries[::-1]
        query = parse_query(request, ("limit", "cursor"), limit_faults, _ledger_cursor_faults)
        page, cursor = page_of(entries, query, lambda one: str(one["id"]))
        return MemoryResponse(200, {"entries": page, "next_cursor": cursor})

    def _own(self, request: MemoryRequest, account_id: str) -> MemoryAccount:
        require_account(request, account_id)
        return self._accounts.get(account_id)

    # --- statements -------------------------------------------------------------------------

    def statement(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """Show what changed the balance."""
        account = self._own(request, account_id)
        query = parse_query(request, ("from", "to", "limit", "cursor"))
        first, last = _period(query)
        lines = self._lines(account, first, last)
        months = sorted({line["created_at"][:7] for line in lines})
        body = {
            "account_id": account_id,
            "from": _text(first),
            "to": _text(last),
            **_balances(account, lines, first),
            "totals": _totals(lines),
            "lines": len(lines),
            "months": [_month(account, month, lines) for month in months],
            "entries": lines,
            "next_cursor": None,
        }
        return MemoryResponse(200, body)

    def statement_csv(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """The lines of a statement as CSV."""
        account = self._own(request, account_id)
        lines = self._lines(account, *_period(parse_query(request, ("from", "to"))))
        written = io.StringIO()
        rows = csv.writer(written, lineterminator="\n")
        rows.writerow((*_CSV, "credits", "balance_after", "reason", "variant"))
        for line in lines:
            told = [line.get("created_at" if name == "time" else name) for name in _CSV]
            amounts = [line["credits"], line["balance_after"], line["reason"], line["variant"]]
            rows.writerow([*told, *amounts])
        headers = {"Content-Type": "text/csv; charset=utf-8"}
        return MemoryResponse(200, written.getvalue().encode(), headers)

    def _lines(
        self, account: MemoryAccount, first: datetime, last: datetime
    ) -> list[dict[str, Any]]:
        return [
            self._line(entry)
            for entry in account.entries
            if entry["kind"] in _KINDS and first <= time_of(entry["created_at"]) < last
        ]

    def _line(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        job = self._jobs.by_id.get(entry["job_id"] or "")
        fields = job.fields if job else {}
        quantity = fields["request"].get("quantity") if job else None
        sign = -1 if entry["kind"] == "capture" else 1
        return {
            "id": entry["id"],
            "created_at": entry["created_at"],
            "job_id": entry["job_id"],
            "credits": sign * entry["credits"],
            "balance_after": entry["balance_after"],
            "kind": entry["kind"],
            "model": fields.get("model"),
            "task": fields.get("task"),
            "quantity": quantity,
            "variant": fields.get("variant"),
            "reason": entry["reason"],
        }

    # --- files ------------------------------------------------------------------------------

    def upload(self, request: MemoryRequest) -> MemoryResponse:
        """Upload an image. The same bytes are the same file."""
        account_id = request.query.get("account_id", request.account_id)
        require_account(request, account_id)
        head = read_image_head(request.body)
        if isinstance(head, str):
            raise invalid_request([Fault("file", head)])
        sha256 = hashlib.sha256(request.body).hexdigest()
        for file in self._files.values():
            if (file["sha256"], file["account_id"]) == (sha256, account_id):
                return _uploaded(file)
        file_id, created_at = new_id(), datetime.now(UTC)
        file = {
            "id": file_id,
            "account_id": account_id,
            "url": self._url_of(f"{file_id}.{head.content_type.partition('/')[2]}"),
            "sha256": sha256,
            "bytes": len(request.body),
            "content_type": head.content_type,
            "width": head.width,
            "height": head.height,
            "created_at": now_text(),
            "expires_at": _text(created_at + _SERVED_FOR),
        }
        self._files[file_id] = file
        return _uploaded(file)

    def file(self, request: MemoryRequest, file_id: str) -> MemoryResponse:
        """Show an uploaded image."""
        file = self._files.get(file_id)
        if file is None or file["account_id"] != request.account_id:
            raise Refusal("file_not_found", f"no uploaded file has the id {file_id!r}")
        return MemoryResponse(200, file)


def _uploaded(file: Mapping[str, Any]) -> MemoryResponse:
    return MemoryResponse(201, dict(file), {"Location": f"/v1/files/{file['id']}"})


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _ledger_cursor_faults(query: Mapping[str, str]) -> list[Fault]:
    text = query.get("cursor", "1")
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _ROW_ID_MAX:
        return []
    return [Fault("cursor", f"{shown(text)} must be a whole number from 1 to {_ROW_ID_MAX}")]


def _period(query: Mapping[str, str]) -> tuple[datetime, datetime]:
    """Return the start and the end of a statement: by default the present month until now."""
    now = datetime.now(UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = {}
    for name, default in (("from", month), ("to", now)):
        text = query.get(name)
        if text is not None and len(text) == len("2030-01-31"):
            text = f"{text}T00:00:00Z"
        time = default if text is None else read_time(text)
        if time is None or not 1 < time.year < MAXYEAR:
            wanted = (
                "must be a date such as 2030-01-31, or a time with its timezone, of the years 2 to"
                " 9998"
            )
            raise invalid_request([Fault(name, f"{query[name]!r} {wanted}")])
        found[name] = time
    return found["from"], found["to"]


def _balances(
    account: MemoryAccount, lines: Sequence[Mapping[str, Any]], first: datetime
) -> dict[str, Any]:
    before = [one for one in account.entries if time_of(one["created_at"]) < first]
    opening = before[-1]["balance_after"] if before else 0
    return {
        "opening_balance": opening,
        "closing_balance": lines[-1]["balance_after"] if lines else opening,
    }


def _totals(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sums = dict.fromkeys(_KINDS, Decimal(0))
    for line in lines:
        sums[line["kind"]] += Decimal(str(line["credits"]))
    return {kind: credits_number(credits) for kind, credits in sums.items()}


def _month(
    account: MemoryAccount, month: str, lines: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    own = [line for line in lines if line["created_at"].startswith(month)]
    start = time_of(f"{month}-01T00:00:00Z")
    return {
        "month": month,
        **_balances(account, own, start),
        "totals": _totals(own),
        "lines": len(own),
    }
