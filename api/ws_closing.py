"""Why a WebSocket is closed: the codes that clients see, as `docs/live.md` explains them."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

_MAX_REASON_BYTES: Final = 123  # RFC 6455, section 5.5


class CloseCode(IntEnum):
    """The codes of RFC 6455, of the protocol graphql-transport-ws, and from 4440 on of this API."""

    GONE = 1005
    """The client closed without a code."""
    LOST = 1006
    """The connection broke."""
    RESTART = 1012
    """The process is stopping; connect again."""
    TRY_LATER = 1013
    """Events may be missing, or an engine is away; connect again and resume from the cursor."""

    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    """`subscribe` before `connection_ack`."""
    FORBIDDEN = 4403
    """The access token was refused."""
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INIT_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITS = 4429
    INTERNAL_ERROR = 4500

    SESSION_ENDED = 4440
    TOKEN_EXPIRED = 4441
    SLOW_READER = 4442
    IDLE = 4443


def cut_reason(reason: str) -> str:
    """Cut a reason to the bytes that a close frame has room for."""
    return reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")


def label_of(code: int) -> str:
    """Give a code as a label of metrics; clients may send any."""
    return str(code) if code in CloseCode.__members__.values() or code in (1000, 1001, 1009) else "other"
