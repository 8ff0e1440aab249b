"""Errors of the API server, and what its answers say about them."""

from collections.abc import Mapping
from typing import Final

import msgspec

from rbln_worker.contract.errors import RblnError
from rbln_worker.core.limit_bytes import limit_line

MAX_ERROR_TEXT: Final = 400
"""Maximum length of an error's text (bytes): the server's part may come from anywhere."""
MAX_RETRY_AFTER_S: Final = 120.0

NOT_REACHED: Final = "NotReached"
TIMED_OUT: Final = "TimedOut"
UNREADABLE: Final = "UnreadableAnswer"
EXPIRED_STATUS: Final = 410


class ApiError(RblnError):
    """A call of the API server failed. Its text is one line with verb and path."""

    def __init__(
        self, call: str, text: str, *, status: int = 0, reason: str, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(limit_line(f"{call}: {text}", MAX_ERROR_TEXT))
        self.status = status
        """HTTP status of a refusal; 0: there was none, or no response."""
        self.reason = reason
        """The server's reason (``NotFound``, ``Conflict``, …) or one of this module's."""
        self.retry_after_s = retry_after_s
        """Shortest delay that the server requires, in seconds; 0: none."""


class StatusDetails(msgspec.Struct, frozen=True, rename="camel"):
    """Details of a Status object."""

    retry_after_seconds: int = 0


class StatusObject(msgspec.Struct, frozen=True):
    """The server's Status object (meta/v1)."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: StatusDetails = StatusDetails()


_STATUS: Final = msgspec.json.Decoder(StatusObject)


def status_error(call: str, status: int, headers: Mapping[bytes, bytes], body: bytes) -> ApiError:
    """Return the error of an answer that is no success. Header names are in lower case."""
    try:
        response = _STATUS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # A proxy or load balancer in front of the server.
        response = StatusObject(message=body[:MAX_ERROR_TEXT].decode(errors="replace"))
    delay = retry_after(headers.get(b"retry-after", b"").decode("latin-1"))
    reason = response.reason or f"HTTP{status}"
    text = f"{status} {reason}: {response.message}" if response.message else f"{status} {reason}"
    return ApiError(call, text, status=status, reason=reason, retry_after_s=delay)


def watch_error(call: str, raw: bytes) -> ApiError:
    """Return the error that an ERROR event of a watch carries."""
    try:
        response = _STATUS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return unreadable_response(call, "an ERROR event without a Status")
    delay = retry_after(str(response.details.retry_after_seconds or ""))
    reason = response.reason or "WatchError"
    text = f"{response.code} {reason}: {response.message}"
    return ApiError(call, text, status=response.code, reason=reason, retry_after_s=delay)


def unreadable_response(call: str, text: str) -> ApiError:
    """Return the error of an answer that is not what the API has."""
    return ApiError(call, f"unreadable answer: {text}", reason=UNREADABLE)


def retry_after(header: str) -> float:
    """Return the seconds of a Retry-After header; 0 for none, a date, or nonsense."""
    text = header.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return 0.0
    return min(float(text), MAX_RETRY_AFTER_S)
