"""What FCM's answers mean: one table, and how an answer is looked up in it.

Sources: FCM HTTP v1 `ErrorCode` and its guide to error codes; google.rpc.Status for what has no FcmError.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import msgspec
from firebase_admin.exceptions import FirebaseError  # type: ignore[import-untyped]
from msgspec import Struct

from notifications.channels.base import Outcome, Receipt

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_MAX_WAIT_S = 3600.0


class Verdict(Struct, frozen=True):
    """What to do about an error; `wait_s` where the provider names no time of its own, in seconds."""

    outcome: Outcome
    wait_s: float | None = None
    alarming: bool = False
    """Somebody must repair the configuration; no push gets through until then."""


VERDICTS: Final[Mapping[str, Verdict]] = {
    "UNREGISTERED": Verdict(Outcome.DEAD_TOKEN),
    "INVALID_TOKEN": Verdict(Outcome.DEAD_TOKEN),
    "INVALID_ARGUMENT": Verdict(Outcome.REFUSED),
    # Either the app was built for another sender or our service account is of another project; were these
    # tokens removed, a wrong setting would cost every citizen their device.
    "SENDER_ID_MISMATCH": Verdict(Outcome.REFUSED, alarming=True),
    "QUOTA_EXCEEDED": Verdict(Outcome.RETRY, wait_s=60),
    "UNAVAILABLE": Verdict(Outcome.RETRY),
    "INTERNAL": Verdict(Outcome.RETRY),
    "UNSPECIFIED_ERROR": Verdict(Outcome.RETRY),
    "THIRD_PARTY_AUTH_ERROR": Verdict(Outcome.RETRY, wait_s=300, alarming=True),
    # No FcmError: the request never came as far as FCM, so it says nothing about the token.
    "UNAUTHENTICATED": Verdict(Outcome.RETRY, alarming=True),
    "PERMISSION_DENIED": Verdict(Outcome.RETRY, wait_s=300, alarming=True),
    "NOT_FOUND": Verdict(Outcome.RETRY, wait_s=300, alarming=True),
    # Not said by FCM
    "NOT_SENT": Verdict(Outcome.RETRY),
    "ANSWER_LOST": Verdict(Outcome.RETRY),
    "HELD_BACK": Verdict(Outcome.RETRY),
    "MALFORMED": Verdict(Outcome.REFUSED),
    "EXPIRED": Verdict(Outcome.REFUSED),
}
_ALIASES = {"APNS_AUTH_ERROR": "THIRD_PARTY_AUTH_ERROR"}
_BY_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "QUOTA_EXCEEDED",
    503: "UNAVAILABLE",
}


class HeldBackError(httpx.HTTPError):
    """The provider asked to wait, so this push was not sent; `wait_s` is what remains, in seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__("held back")
        self.wait_s = wait_s


def receipt_of(device_id: str, error: FirebaseError, *, now: datetime) -> Receipt:
    """Judge one failure as `send_each_async` reports it."""
    if error.http_response is not None:
        reason, wait_s = read_error(error.http_response, now=now)
        return receipt(device_id, reason, wait_s)
    cause = error.cause
    if isinstance(cause, HeldBackError):
        return receipt(device_id, "HELD_BACK", cause.wait_s)
    # Only where no connection came about is it sure that nothing was sent.
    unsent = isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return receipt(device_id, "NOT_SENT" if unsent else "ANSWER_LOST")


def receipt(device_id: str, reason: str, wait_s: float | None = None) -> Receipt:
    """Make the receipt that the table has for a reason."""
    verdict = VERDICTS[reason]
    if verdict.outcome is not Outcome.RETRY:
        return Receipt(device_id, verdict.outcome, reason)
    return Receipt(device_id, verdict.outcome, reason, verdict.wait_s if wait_s is None else wait_s)


def read_error(response: httpx.Response, *, now: datetime) -> tuple[str, float | None]:
    """Give the reason in the table for an error response, and the seconds it asks to wait."""
    wait_s = read_retry_after(response.headers.get("retry-after"), now=now)
    error = error_body(response)
    details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
    code = next((d.get("errorCode") for d in details if d.get("@type") == _FCM_ERROR), None)
    code = _ALIASES.get(str(code), code)
    if code == "INVALID_ARGUMENT" or (code is None and response.status_code == 400):
        return ("INVALID_TOKEN" if _blames_token(error, details) else "INVALID_ARGUMENT"), wait_s
    if code in VERDICTS:
        return str(code), wait_s
    return _BY_STATUS.get(response.status_code, "INTERNAL"), wait_s


def error_body(response: httpx.Response) -> dict[str, Any]:
    """Read the `error` member of an error response; empty where a proxy answered something else."""
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _blames_token(error: dict[str, Any], details: list[dict[str, Any]]) -> bool:
    """Tell a bad token from a bad payload: by the field named, or by the words FCM has for tokens."""
    for detail in details:
        if detail.get("@type") == _BAD_REQUEST:
            violations = [v for v in _list(detail.get("fieldViolations")) if isinstance(v, dict)]
            return bool(violations) and all(v.get("field") == "message.token" for v in violations)
    return "registration token" in str(error.get("message", "")).lower()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def read_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date (RFC 9110, 10.2.3): seconds from now, at most an hour."""
    if text is None:
        return None
    try:
        seconds = float(text) if text.strip().replace(".", "", 1).isdigit() else None
        if seconds is None:
            seconds = (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _MAX_WAIT_S)
