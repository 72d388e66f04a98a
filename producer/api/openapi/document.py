"""Generates the OpenAPI 3.1 document from the table of routes.

`producer.api.openapi.component_schemas` has the schemas of bodies and responses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import orjson

from producer.api.endpoint import Endpoint, Parameter
from producer.api.openapi.component_schemas import REF, component_schemas
from producer.api.responses.problems import CONTENT_TYPE, titles_by_code
from producer.keys.roles import Role
from producer.orders.error_json import TYPE_PREFIX
from shared.domain.image_bytes import ImageType
from shared.installed_version import installed_version

OPENAPI = "3.1.0"
SCHEME = "key"
_COMMON_PROBLEMS = (400, 401, 403, 429, 500, 503)
"""The error statuses of every operation."""
_BODY_PROBLEMS = (408, 413, 415)
_PROBLEM_STATUSES = sorted({*_COMMON_PROBLEMS, *_BODY_PROBLEMS, 402, 404, 409, 422, 501})
_PATH_PARAMETER = re.compile(r"{(\w+)}")
_RESOURCES = "components"

_DESCRIPTION = """\
Darkroom generates images at Kie and charges credits for those that succeed.

Send `Authorization: Bearer <key>`; `darkroom keys create` makes one. While no key was ever made,
the API listens on loopback alone and asks for none. Every refusal is `application/problem+json`
(RFC 9457) with a stable `type`; a refused request has stored nothing."""

_TAGS = {
    "jobs": "Place jobs, follow them, take them back.",
    "files": "Upload images for image-to-image jobs.",
    "events": "What happens, as it happens: Server-Sent Events.",
    "prices": "What a job costs.",
    "accounts": "Credits, and where they went.",
    "monitoring": "The queue now, and its history.",
    "pauses": "Submits that are paused, by whom and why.",
    "models": "By which family of the catalog the jobs of each model are sent to Kie.",
    "webhooks": "What is sent when a job has ended.",
    "audit": "Who did what.",
    "service": "How this process is.",
}

_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "the id of the request in the log: the id that you sent, if any",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {"description": "how to send a key", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "seconds after which to try again",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Location": {"description": "the address of what was made", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "there where the key was used before, and this is the first answer again",
        "schema": {"type": "string", "const": "true"},
    },
}
_HEADERS_OF_STATUS = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}


def render_document(endpoints: Iterable[Endpoint], root_path: str = "") -> bytes:
    """Return the OpenAPI document of these endpoints as JSON."""
    return orjson.dumps(build_document(endpoints, root_path))


def build_document(endpoints: Iterable[Endpoint], root_path: str = "") -> dict[str, Any]:
    """Return the OpenAPI document of these endpoints, which are served below `root_path`."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Darkroom",
            "version": installed_version("0"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root_path or "/", "description": "this server"}],
        "security": [{SCHEME: []}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": {**paths, **_service_paths()},
        "webhooks": {"jobEnded": {"post": _webhook()}},
        _RESOURCES: {
            "schemas": component_schemas(),
            "responses": {str(status): _problem_response(status) for status in _PROBLEM_STATUSES},
            "headers": _HEADERS,
            "securitySchemes": {
                SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"An API key of one of the roles {', '.join(Role)}.",
                }
            },
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    roles = ", ".join(role.value for role in Role if role in endpoint.roles)
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": "  \n".join(filter(None, [endpoint.description, f"Roles: {roles}."])),
        "tags": [endpoint.tag],
    }
    parameters = list(_parameters(endpoint))
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": endpoint.body_is_required,
            "description": f"At most {endpoint.body_limit:,} bytes.",
            "content": {"application/json": {"schema": {"$ref": REF + endpoint.body}}},
        }
    if endpoint.uploads is not None:
        operation["requestBody"] = {
            "required": True,
            "description": f"At most {endpoint.body_limit:,} bytes.",
            "content": {name: {"schema": rule} for name, rule in endpoint.uploads.items()},
        }
    operation["responses"] = _responses(endpoint)
    return operation


def _parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for name in _PATH_PARAMETER.findall(endpoint.path):
        schema = endpoint.path_schemas.get(name, {"type": "string"})
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for one in endpoint.parameters:
        yield _parameter(one)


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.location,
        "required": False,
        "description": one.description,
        "schema": one.schema,
    }


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    successes = {
        str(status): _success_response(endpoint, status, name)
        for status, name in endpoint.responses.items()
    }
    statuses = {
        *_COMMON_PROBLEMS,
        *endpoint.problems,
        *(_BODY_PROBLEMS if endpoint.body or endpoint.uploads else ()),
    }
    problems = {
        str(status): {"$ref": f"#/{_RESOURCES}/responses/{status}"} for status in sorted(statuses)
    }
    return {**successes, **problems}


def _success_response(endpoint: Endpoint, status: int, name: str | None) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "headers": _headers([*endpoint.response_headers, "X-Request-Id"]),
    }
    if name is not None:
        schema: dict[str, Any] = {"$ref": REF + name}
        if endpoint.is_stream:
            schema = _streamed(schema)
        response["content"] = {endpoint.response_type: {"schema": schema}}
    if endpoint.is_download and status == HTTPStatus.OK:
        response["content"] = {one.value: {} for one in ImageType}
    return response


def _streamed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of one event of a stream, as EventSource returns it."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    return {
        "description": "Each event of the stream; its data is JSON.",
        "type": "object",
        "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": data},
        "required": ["id", "event", "data"],
    }


def _problem_response(status: int) -> dict[str, Any]:
    titles = titles_by_code(status)
    code, title = next(iter(titles.items()))
    example: dict[str, Any] = {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": title,
    }
    if code == "invalid_request":
        example["errors"] = [{"field": "quantity", "message": "is 3; allowed: 1, 2 and 4"}]
    return {
        "description": "\n".join(f"- `{code}`: {title}" for code, title in titles.items()),
        "headers": _headers([*_HEADERS_OF_STATUS.get(status, []), "X-Request-Id"]),
        "content": {CONTENT_TYPE: {"schema": {"$ref": f"{REF}Problem"}, "example": example}},
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/{_RESOURCES}/headers/{name}"} for name in names}


# --- without an endpoint: the routes that every Darkroom process has, and the webhooks it sends --


def _service_paths() -> dict[str, Any]:
    checks = {"type": "object", "additionalProperties": {"type": "string"}}
    ready = {
        "type": "object",
        "properties": {
            "status": {"enum": ["ready", "degraded", "not ready", "starting", "stopping"]},
            "checks": checks,
        },
        "required": ["status", "checks"],
    }
    alive = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    started = {
        "type": "object",
        "properties": {"status": {"enum": ["started", "starting"]}},
        "required": ["status"],
    }
    text, json = {"type": "string"}, "application/json"
    return {
        path: {"get": _service_operation(name, summary, responses)}
        for path, name, summary, responses in (
            ("/healthz", "isAlive", "Say that this process runs", {200: (json, alive)}),
            (
                "/readyz",
                "isReady",
                "Say whether this process should get requests",
                {200: (json, ready), 503: (json, ready)},
            ),
            (
                "/startupz",
                "isStarted",
                "Say whether the start is complete",
                {200: (json, started), 503: (json, started)},
            ),
            ("/metrics", "getMetrics", "Measure, for Prometheus", {200: ("text/plain", text)}),
            ("/openapi.json", "getDocument", "This document", {200: (json, {"type": "object"})}),
            ("/docs", "getPage", "This document, to read", {200: ("text/html", text)}),
        )
    }


def _service_operation(
    name: str, summary: str, responses: Mapping[int, tuple[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["service"],
        "security": [],
        "responses": {
            str(status): {
                "description": HTTPStatus(status).phrase,
                "content": {content_type: {"schema": schema}},
            }
            for status, (content_type, schema) in responses.items()
        },
    }


def _webhook() -> dict[str, Any]:
    headers = {
        "webhook-id": "the same for a repeated delivery",
        "webhook-timestamp": "seconds since 1970, when this delivery was signed",
        "webhook-signature": "`v1,` and the signature, as Standard Webhooks says",
    }
    return {
        "operationId": "receiveJobEnded",
        "summary": "A job with a webhook_url has ended",
        "description": "Sent until you answer 2xx, with growing gaps, for a day.",
        "tags": ["jobs"],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": about,
                "schema": {"type": "string"},
            }
            for name, about in headers.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"{REF}WebhookMessage"}}},
        },
        "responses": {"2XX": {"description": "It was taken."}},
    }
