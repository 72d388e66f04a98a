"""Uploaded images over HTTP."""

from __future__ import annotations

from aiohttp import web

from producer.api.authentication import caller_account, require_account
from producer.api.endpoint import Call
from producer.api.requests.query_parameters import QueryParameters
from producer.api.requests.upload_body import read_upload
from producer.api.responses.json_response import json_response
from producer.files.uploaded_file import file_to_json
from producer.orders.field_limits import ACCOUNT_LENGTH
from shared.errors import AccountNotFound, Fault, FileNotFound, InvalidRequest


async def upload_file(call: Call) -> web.StreamResponse:
    """Upload the image in the body and respond 201, also where the same bytes were uploaded before.

    The body passes through to Kie as it arrives.
    """
    query = QueryParameters(call.request, ("account_id",))
    account_id = query.text("account_id", ACCOUNT_LENGTH) or caller_account(call.caller)
    query.raise_faults()
    if account_id is None:
        raise InvalidRequest([Fault("account_id", "is required: who uses the file")])
    require_account(call.caller, account_id)
    with call.context.uploads.hold():
        try:
            file = await call.context.producer.upload(
                read_upload(call.request, call.context.uploads), account_id=account_id
            )
        except AccountNotFound as unknown:
            raise InvalidRequest([Fault("account_id", str(unknown))]) from unknown
    return json_response(file_to_json(file), 201, {"Location": f"/v1/files/{file.id}"})


async def show_file(call: Call) -> web.StreamResponse:
    """Return an uploaded file. Responds 404 also if it is another account's."""
    file = await call.context.producer.get_file(call.request.match_info["id"])
    bound = caller_account(call.caller)
    if bound is not None and file.account_id != bound:
        raise FileNotFound(str(file.id))
    return json_response(file_to_json(file))
