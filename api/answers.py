"""The answer to one request: what it says, and the head and body that go out."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from api.compression import MIN_BYTES, THREAD_BYTES, compress
from api.cors import Cors
from api.exchange import NO_SNIFFING, SECURITY_HEADERS, Exchange, Headers
from api.negotiation import GRAPHQL_RESPONSE, JSON, Encoding, MediaType, encoding
from engine.responses import ResponseCache, StoredResponse

_CONTENT_TYPES: Final = {kind: f"{kind}; charset=utf-8".encode() for kind in (GRAPHQL_RESPONSE, JSON)}
_VARY: Final = (b"vary", b"accept, accept-encoding, accept-language, origin")
_OK: Final = 200
_OPENINGS: Final = {
    int(status): b"HTTP/1.1 %d %b\r\nx-request-id: " % (status, status.phrase.encode())
    for status in HTTPStatus
}
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Answer(Struct, frozen=True):
    """What a request is answered; `stored` is where its body comes from, if it is a kept one."""

    status: int
    body: bytes
    outcome: str
    codes: tuple[str, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stored: StoredResponse | None = None


def named(request_id: str) -> tuple[bytes, bytes]:
    """Give the header that tells a client the id of its request."""
    return b"x-request-id", request_id.encode("ascii")


def head_of(answer: Answer, exchange: Exchange, cors: Cors, coding: Encoding, size: int) -> Headers:
    """Make the headers of an answer whose body has `size` bytes in its content coding, but for its id."""
    if _is_usual(answer, exchange):
        return usual_head(exchange.media_type, coding, size)
    headers: Headers = [_VARY, *SECURITY_HEADERS]
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


@lru_cache(maxsize=4096)
def usual_head(kind: MediaType, coding: Encoding, size: int) -> Headers:
    """Give the headers of a POST's usual answer; one list for all that are alike, not to be changed."""
    coded = [(b"content-encoding", coding.encode())] if coding else []
    return [NO_SNIFFING, (b"content-type", _CONTENT_TYPES[kind]), *coded, (b"content-length", b"%d" % size)]


def _is_usual(answer: Answer, exchange: Exchange) -> bool:
    """Tell whether a POST from no other origin went well.

    Its answer is no document and kept by nobody: `Vary` and policies for documents would say nothing. All
    other answers have headers of their own.
    """
    return answer.status == _OK and not answer.headers and exchange.origin is None


def header_lines(answer: Answer, exchange: Exchange, cors: Cors, coding: Encoding, size: int) -> bytes:
    """Write the headers of an answer behind its request id, and the empty line after them."""
    if _is_usual(answer, exchange):
        return _usual_lines(exchange.media_type, coding, size)
    return _lines(head_of(answer, exchange, cors, coding, size))


@lru_cache(maxsize=4096)
def _usual_lines(kind: MediaType, coding: Encoding, size: int) -> bytes:
    return _lines(usual_head(kind, coding, size))


def _lines(fields: Headers) -> bytes:
    return b"".join([*(b"%b: %b\r\n" % pair for pair in fields), b"\r\n"])


def message(status: int, request_id: str, first: bytes, lines: bytes, body: bytes) -> bytes:
    """Write an answer for the socket; `first` are the server's own header lines."""
    return b"".join((_OPENINGS[status], request_id.encode(), b"\r\n", first, lines, body))


def coding_at_hand(
    answer: Answer, coding: Encoding, responses: ResponseCache | None
) -> tuple[Encoding, bytes] | None:
    """Give the content coding of an answer's body, the client's unless it is small, and the body in it.

    Kept answers keep theirs. None where compressing the body would hold everything up.
    """
    body = answer.body
    if not coding or len(body) < MIN_BYTES:
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
    coding: Encoding = encoding(accept_encoding) if accept_encoding else ""
    found = coding_at_hand(answer, coding, responses)
    if found is not None:
        return found
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
