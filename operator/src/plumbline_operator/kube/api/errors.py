"""What the API server, or the way to it, answers instead of what was asked for, told apart by what can be done.

ApiError                  the verb, the resource, the fact
|-- NotFound              there is no such object, or no such resource (404)
|-- AlreadyExists         an object of that name is there already (409)
|-- Conflict              the object has changed since it was read, or is another one (409)
|-- Gone                  the asked version is too old to be watched or listed from (410)
|-- Forbidden             a role lacks a verb, or admission refuses (403); `lacking` tells them apart
|-- Invalid               the object breaks a rule of the API (400, 422)
|-- TooManyRequests       the server is busy; `retry_after` where it says so (429)
`-- Unavailable           no answer, or a failure of the server's own (5xx, 401, connections, time-outs)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "AlreadyExists", "ApiError", "Call", "Conflict", "Forbidden", "Gone", "Invalid", "NotFound", "TooManyRequests",
    "Unavailable", "answer_to_error",
]  # fmt: skip

_MOST_QUOTED: Final = 500


@dataclass(frozen=True)
class Call:
    """What was asked of the API server, for messages, logs and metrics."""

    verb: str
    """As roles have it: get, list, watch, create, update, patch, delete."""
    resource: str
    """The plural with its group, for example jobs.batch."""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        what = self.resource + (f"/{self.subresource}" if self.subresource else "")
        return f"{self.verb} {what}" + (f" {self.name}" if self.name else "") + where


class ApiError(Exception):
    """A call that did not do what it was made for."""

    def __init__(
        self,
        call: Call,
        fact: str,
        *,
        code: int = 0,
        retry_after: float | None = None,
        fields: tuple[str, ...] = (),
        cause: str = "",
    ) -> None:
        """Tell of one call.

        Args:
            call: What was asked.
            fact: What the server said, for people. It may quote what was sent, so it is not for logs.
            code: HTTP status; 0 where there was no answer.
            retry_after: Seconds after which the server wants to be asked again.
            fields: The fields that it complains of.
            cause: The server's word for the kind of failure.
        """
        super().__init__(f"{call}: {fact[:_MOST_QUOTED]}")
        self.call = call
        self.fact = fact
        self.code = code
        self.retry_after = retry_after
        self.fields = fields
        self.cause = cause


class NotFound(ApiError):
    """There is no such object, or no such resource."""


class AlreadyExists(ApiError):
    """An object of that name is there already."""


class Conflict(ApiError):
    """The object has changed since it was read, or another one has taken its name."""


class Gone(ApiError):
    """The asked version is too old."""


class Forbidden(ApiError):
    """A role lacks a verb, or admission refuses."""

    @property
    def lacking(self) -> str:
        """The verb that the operator's own role lacks, which need not be the call's; empty where admission refuses."""
        if "cannot set blockOwnerDeletion" in self.fact:
            return "update"
        found = re.search(r'User ".*" cannot (\w+) resource', self.fact)
        return found.group(1) if found else ""

    @property
    def ending(self) -> bool:
        """Whether the namespace is being deleted."""
        return self.cause == "NamespaceTerminating" or "is being terminated" in self.fact


class Invalid(ApiError):
    """The object breaks a rule of the API."""


class TooManyRequests(ApiError):
    """The server is busy."""


class Unavailable(ApiError):
    """No answer, or a failure of the server's own."""


_BY_CODE: Final[Mapping[int, type[ApiError]]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    422: Invalid,
    429: TooManyRequests,
}


def answer_to_error(call: Call, code: int, status: Mapping[str, Any], retry_after: str | None) -> ApiError:
    """The error that an answer of the API server stands for.

    Args:
        call: What was asked.
        code: HTTP status, 400 or above.
        status: The body, where it is a Status object; empty where it is anything else.
        retry_after: The header of that name.
    """
    kind = _BY_CODE.get(code, Unavailable if code >= 500 or code == 401 else Invalid)
    if code == 409 and status.get("reason") == "AlreadyExists":
        kind = AlreadyExists
    details = status.get("details") or {}
    causes = details.get("causes") or ()
    seconds = _seconds(retry_after) or _seconds(details.get("retryAfterSeconds"))
    return kind(
        call,
        str(status.get("message") or f"HTTP {code}"),
        code=code,
        retry_after=seconds,
        fields=tuple(str(cause["field"]) for cause in causes if cause.get("field")),
        cause=next((str(cause["reason"]) for cause in causes if cause.get("reason")), str(status.get("reason", ""))),
    )


def _seconds(text: object) -> float | None:
    try:
        seconds = float(str(text))
    except ValueError:
        return None
    return seconds if 0 < seconds < 3600 else None
