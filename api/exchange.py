"""One request to `/graphql` and its answer, below any framework: headers in, bytes out."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import chain, count, cycle, repeat
from operator import add
from typing import Any, Final

from api.errors import RequestError
from api.negotiation import JSON, MediaType, language
from resolvers.context import Language

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
SECURITY_HEADERS: Final[Headers] = [
    NO_SNIFFING,
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


def request_id_from(given: str | None) -> str:
    """Take over a client's request id when it is harmless to log, else make one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return new_request_id()


# Numbers in hexadecimal, of which only one in 256 has to be written.
_STARTS = map(f"{secrets.token_hex(6)}-{{:x}}".format, count())
_ENDS = cycle([f"{number:02x}" for number in range(256)])
new_request_id: Final[Callable[[], str]] = map(
    add, chain.from_iterable(map(repeat, _STARTS, repeat(256))), _ENDS
).__next__
"""Makes a request id that no other request has; may be called by any thread."""


class Exchange:
    """The headers of one request that matter here, and what was decided about its answer."""

    __slots__ = (
        "accept",
        "accept_encoding",
        "authorization",
        "content_encoding",
        "content_length",
        "content_type",
        "explain",
        "if_none_match",
        "language",
        "media_type",
        "operation_name",
        "origin",
        "request_id",
    )

    def __init__(self, headers: Headers) -> None:
        accept = accept_encoding = accept_language = authorization = content_encoding = None
        content_length = content_type = explain = if_none_match = origin = request_id = None
        for name, value in headers:
            match name:
                case b"accept":
                    text = value.decode("latin-1")
                    accept = text if accept is None else f"{accept},{text}"
                case b"content-type":
                    content_type = value.decode("latin-1")
                case b"content-length":
                    content_length = value
                case b"accept-encoding":
                    accept_encoding = value.decode("latin-1")
                case b"accept-language":
                    accept_language = value.decode("latin-1")
                case b"content-encoding":
                    content_encoding = value
                case b"if-none-match":
                    if_none_match = value.decode("latin-1")
                case b"origin":
                    origin = value.decode("latin-1")
                case b"x-request-id":
                    request_id = value.decode("latin-1")
                case b"authorization":
                    authorization = value
                case b"x-explain":
                    explain = value
        self.accept: str | None = accept
        self.accept_encoding: str | None = accept_encoding
        self.authorization: bytes | None = authorization
        self.content_encoding: bytes | None = content_encoding
        self.content_length: bytes | None = content_length
        self.content_type: str | None = content_type
        self.explain = explain == b"1"
        self.if_none_match: str | None = if_none_match
        self.origin: str | None = origin
        self.language: Language = language(accept_language)
        self.request_id = request_id_from(request_id)
        self.media_type: MediaType = JSON
        self.operation_name: str | None = None


async def read_body(receive: Receive, declared: bytes | None, max_bytes: int, timeout_s: float) -> bytes:
    """Read a request's body, at most `max_bytes`, whatever its Content-Length says.

    Raises: RequestError when it is too large or too slow; ClientGoneError.
    """
    if declared is not None and (len(declared) > 15 or not declared.isdigit() or int(declared) > max_bytes):
        raise RequestError("BODY_TOO_LARGE", limit=max_bytes)
    message = await receive()
    if not message.get("more_body"):
        return _checked(message, max_bytes)
    chunks = [_checked(message, max_bytes)]
    size = len(chunks[0])
    try:
        async with asyncio.timeout(timeout_s):
            while message.get("more_body"):
                message = await receive()
                chunks.append(_checked(message, max_bytes - size))
                size += len(chunks[-1])
    except TimeoutError:
        raise RequestError("BODY_TIMEOUT") from None
    return b"".join(chunks)


def _checked(message: Message, max_bytes: int) -> bytes:
    if message["type"] != "http.request":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    if len(body) > max_bytes:
        raise RequestError("BODY_TOO_LARGE", limit=max_bytes)
    return body
