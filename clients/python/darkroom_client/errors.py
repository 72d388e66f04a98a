"""The errors that the client raises. Each kind of refusal has a class in `problems`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom_client.generated.models import FieldFault


class DarkroomError(Exception):
    """The base class of every error of the client."""


class ApiError(DarkroomError):
    """The API refused the request, with an RFC 9457 problem as its answer."""

    def __init__(
        self,
        status: int,
        body: Mapping[str, Any],
        *,
        retry_after_seconds: float | None = None,
        request_id: str | None = None,
    ) -> None:
        self.status = status
        """The HTTP status."""
        self.type = str(body.get("type", "about:blank"))
        """`urn:darkroom:problem:` and `code`."""
        self.code = self.type.rpartition(":")[2]
        """A stable word for programs. `blank` if the answer is not from Darkroom."""
        self.title = str(body.get("title") or f"status {status}")
        self.detail = str(body.get("detail") or self.title)
        """What was given and what is allowed, for people."""
        self.errors = _field_faults(body.get("errors"))
        """Every fault of the request, by field."""
        self.body = body
        self.retry_after_seconds = retry_after_seconds
        self.request_id = request_id
        """The id of the request in the logs of Darkroom."""
        listed = "".join(f"\n  {one.field}: {one.message}" for one in self.errors)
        super().__init__(f"{status} {self.code}: {listed or self.detail}")

    @property
    def fields(self) -> dict[str, str]:
        """The faults as a dictionary of messages by field."""
        return {one.field: one.message for one in self.errors}


def _field_faults(given: Any) -> tuple[FieldFault, ...]:
    """Return the faults of a problem. A proxy in between may send another kind of `errors`."""
    listed = given if isinstance(given, list | tuple) else ()
    return tuple(
        FieldFault(field=str(one["field"]), message=str(one["message"]))
        for one in listed
        if isinstance(one, Mapping) and "field" in one and "message" in one
    )


class ConnectionFailed(DarkroomError):
    """No complete answer came: no connection, a broken one, or a timeout."""


class ProxyUnusable(DarkroomError):
    """A proxy of the environment cannot be used: its URL is wrong, or it refuses the host."""

    def __init__(self, variable: str, fault: str) -> None:
        self.variable = variable
        """The variable that names the proxy, such as `HTTPS_PROXY`. Its value is not shown."""
        super().__init__(f"{variable}: {fault}")


class UnexpectedAnswer(DarkroomError):
    """The answer is not what the API is documented to send."""


class WaitTimedOut(DarkroomError):
    """The job had not ended in time. It goes on, and can be waited for again."""

    def __init__(
        self,
        job_id: str,
        state: str | None,
        timeout_seconds: float,
        error: Exception | None = None,
    ) -> None:
        self.job_id, self.timeout_seconds = job_id, timeout_seconds
        self.state = state
        """The state that was last known, or None if none was."""
        told = f"is still {state}"
        if error is not None:
            # The cause of a request that was given up has no words.
            last = "its state is not known" if state is None else f"it was {state} when last read"
            told = f"cannot be read ({str(error) or 'no answer'}), {last},"
        super().__init__(f"job {job_id} {told} after {timeout_seconds:g} s; it goes on")


class JobFailed(DarkroomError):
    """The job ended without images. Raised by `raise_for_failure` alone."""

    def __init__(self, job_id: str, state: str, reason: str | None, message: str | None) -> None:
        self.job_id, self.state, self.reason, self.message = job_id, state, reason, message
        super().__init__(f"job {job_id} {state} ({reason}): {message}")


class WebhookNotGenuine(DarkroomError):
    """The message is not from Darkroom, or not from just now."""
