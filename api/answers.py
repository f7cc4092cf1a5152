"""The answer to one request: what it says, and the head and body that go out."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from api.compression import MIN_BYTES, THREAD_BYTES, compress
from api.cors import Cors
from api.exchange import SECURITY_HEADERS, Exchange, Headers
from api.negotiation import GRAPHQL_RESPONSE, JSON, Encoding, encoding
from engine.responses import ResponseCache, StoredResponse

_CONTENT_TYPES: Final = {kind: f"{kind}; charset=utf-8".encode() for kind in (GRAPHQL_RESPONSE, JSON)}
_VARY: Final = (b"vary", b"accept, accept-encoding, accept-language, origin")
_USUAL_FIELDS: Final = {
    kind: (_VARY, *SECURITY_HEADERS, (b"content-type", value)) for kind, value in _CONTENT_TYPES.items()
}
_OK: Final = 200
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Answer(Struct, frozen=True):
    """What a request is answered; `stored` is where its body comes from, if it is a kept one."""

    status: int
    body: bytes
    outcome: str
    codes: tuple[str, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stored: StoredResponse | None = None


def head_of(answer: Answer, exchange: Exchange, cors: Cors, coding: Encoding, size: int) -> Headers:
    """Make the headers of an answer whose body has `size` bytes in its content coding."""
    request_id = exchange.request_id.encode("ascii")
    if answer.status == _OK and size and not (coding or answer.headers or exchange.origin is not None):
        length = (b"content-length", b"%d" % size)
        return [(b"x-request-id", request_id), *_USUAL_FIELDS[exchange.media_type], length]
    headers: Headers = [(b"x-request-id", request_id), _VARY, *SECURITY_HEADERS]
    headers += answer.headers
    if exchange.origin is not None:
        headers += cors.headers(exchange.origin)
    if size:
        headers.append((b"content-type", _CONTENT_TYPES[exchange.media_type]))
        if coding:
            headers.append((b"content-encoding", coding.encode()))
    if answer.status not in _BODILESS:
        headers.append((b"content-length", str(size).encode()))
    return headers


def _usual_head(media_type: str) -> bytes:
    headers = [
        *((name, value.replace(b"%", b"%%")) for name, value in (_VARY, *SECURITY_HEADERS)),
        (b"content-type", _CONTENT_TYPES[media_type]),
        (b"x-request-id", b"%b"),
        (b"content-length", b"%d"),
    ]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return b"HTTP/1.1 200 OK\r\n%b" + lines + b"\r\n"


_USUAL_HEADS: Final = {kind: _usual_head(kind) for kind in (GRAPHQL_RESPONSE, JSON)}


def head_bytes(
    answer: Answer, exchange: Exchange, cors: Cors, coding: Encoding, size: int, first: bytes
) -> bytes:
    """Write the status line and the headers of an answer for the socket; `first` are the server's lines."""
    if answer.status == _OK and not (coding or answer.headers or exchange.origin is not None):
        head: bytes = _USUAL_HEADS[exchange.media_type] % (first, exchange.request_id.encode("ascii"), size)
        return head
    status = HTTPStatus(answer.status)
    lines = [b"%b: %b\r\n" % pair for pair in head_of(answer, exchange, cors, coding, size)]
    return b"".join([b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()), first, *lines, b"\r\n"])


def coding_at_hand(
    answer: Answer, accept_encoding: str | None, responses: ResponseCache | None
) -> tuple[Encoding, bytes] | None:
    """Give the content coding that a client accepts and the body in it; kept answers keep theirs.

    None where the body is so large that compressing it would hold everything up.
    """
    body = answer.body
    if accept_encoding is None:
        return "", body
    coding: Encoding = encoding(accept_encoding) if accept_encoding and len(body) >= MIN_BYTES else ""
    if not coding:
        return "", body
    stored = answer.stored
    ready = None if stored is None else stored.codings.get(coding)
    if ready is None:
        if len(body) > THREAD_BYTES:
            return None
        ready = compress(body, coding)
        if stored is not None and responses is not None:
            responses.add_coding(stored, coding, ready)
    return coding, ready


async def coded(
    answer: Answer, accept_encoding: str | None, responses: ResponseCache | None
) -> tuple[Encoding, bytes]:
    """Give what `coding_at_hand` gives; large bodies are compressed in a thread."""
    found = coding_at_hand(answer, accept_encoding, responses)
    if found is not None:
        return found
    coding = encoding(accept_encoding)
    body = await asyncio.to_thread(compress, answer.body, coding)
    if answer.stored is not None and responses is not None:
        responses.add_coding(answer.stored, coding, body)
    return coding, body


def not_modified(if_none_match: str | None, tag: bytes) -> bool:
    """Tell whether a client's validators name this tag (weak comparison, RFC 9110, section 13.1.2)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    wanted = tag.decode().removeprefix("W/")
    return any(part.strip().removeprefix("W/") == wanted for part in if_none_match.split(","))
