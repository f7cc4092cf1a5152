"""The body of an upload on its way to the disk: bounded in size, time and parts, never whole in memory.

A form as `wx.uploadFile` sends it (RFC 7578), or the bytes of the file alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from msgspec import Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.errors import RequestError
from api.exchange import ClientGoneError, Receive
from domain.media import (
    HEAD_BYTES,
    MediaFormat,
    MediaLimits,
    MediaTooLargeError,
    MediaTypeError,
    kind_of,
    shown_bytes,
    sniff,
)
from store.media_spool import Spool

FORM_BYTES: Final = 65_536
"""Room in a form beside its file: boundaries, headers, small fields."""
_MOST_PARTS: Final = 10
_FIELD_BYTES: Final = 8_192
_MOST_HEADERS: Final = 8
_HEADER_BYTES: Final = 2_048
_BOUNDARY_BYTES: Final = 70  # RFC 2046, 5.1.1
_MULTIPART: Final = b"multipart/form-data"


class Pace(Struct, frozen=True):
    """How slow a body may be: after `grace_s` it has to have come at `least_bytes_s`, by `total_s` wholly."""

    grace_s: float = 10.0
    least_bytes_s: int = 8_192
    total_s: float = 600.0

    def deadline_s(self, received: int) -> float:
        """Give by when more has to come, in seconds from the start, once `received` bytes have."""
        return min(self.total_s, self.grace_s + received / self.least_bytes_s)


async def receive_file(
    receive: Receive,
    content_type: str | None,
    declared: bytes | None,
    spool: Spool,
    limits: MediaLimits,
    pace: Pace,
) -> MediaFormat:
    """Write the one file of a request's body to the spool and tell its format; stop at the first fault.

    `declared` is the Content-Length. Raises: RequestError, ClientGoneError, MediaTypeError,
    MediaTooLargeError.
    """
    length = _declared(declared, limits)
    kind, options = parse_options_header(content_type)
    if kind == _MULTIPART:
        form = _Form(options.get(b"boundary", b""))
    elif length is None:
        raise RequestError("LENGTH_REQUIRED")
    else:
        form = None
    most = limits.most_bytes + FORM_BYTES
    format_: MediaFormat | None = None
    async for data in _body(receive, length, most, pace):
        for piece in (data,) if form is None else form.pieces(data):
            await spool.write(piece)
        if format_ is None and len(spool.head) == HEAD_BYTES:
            format_ = _format(spool)
        if format_ is not None:
            _check_size(spool, format_, limits)
    if form is not None:
        form.check_end()
    await spool.flush()
    format_ = format_ or _format(spool)
    _check_size(spool, format_, limits)
    return format_


def _declared(declared: bytes | None, limits: MediaLimits) -> int | None:
    if declared is None:
        return None
    if not declared.isdigit() or len(declared) > 15 or int(declared) > limits.most_bytes + FORM_BYTES:
        raise MediaTooLargeError(limit=shown_bytes(limits.most_bytes))
    return int(declared)


def _format(spool: Spool) -> MediaFormat:
    format_ = sniff(spool.head)
    if format_ is None:
        raise MediaTypeError
    return format_


def _check_size(spool: Spool, format_: MediaFormat, limits: MediaLimits) -> None:
    most = limits.bytes_of(kind_of(format_))
    if spool.size > most:
        raise MediaTooLargeError(limit=shown_bytes(most))


async def _body(receive: Receive, length: int | None, most: int, pace: Pace) -> AsyncIterator[bytes]:
    """Yield the body as it comes. Raises: RequestError, ClientGoneError, MediaTooLargeError."""
    loop = asyncio.get_running_loop()
    started, received, more = loop.time(), 0, True
    while more:
        try:
            async with asyncio.timeout_at(started + pace.deadline_s(received)):
                message = await receive()
        except TimeoutError:
            raise RequestError("UPLOAD_TOO_SLOW") from None
        if message["type"] != "http.request":
            raise ClientGoneError
        data: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        received += len(data)
        if length is not None and received > length:
            raise RequestError("LENGTH_MISMATCH")
        if received > most:
            raise MediaTooLargeError(limit=shown_bytes(most - FORM_BYTES))
        if data:
            yield data
    if length is not None and received != length:
        raise RequestError("LENGTH_MISMATCH")


class _Form:
    """Takes the one file out of a form; small fields beside it are dropped. Raises: RequestError."""

    def __init__(self, boundary: bytes) -> None:
        if not 1 <= len(boundary) <= _BOUNDARY_BYTES:
            raise RequestError("MALFORMED_UPLOAD")
        self._pieces: list[bytes] = []
        self._name = self._value = b""
        self._parts = self._files = self._dropped = 0
        self._is_file = self._is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_header_begin": self._begin_header,
                "on_header_field": self._add_name,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_end": self._end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_HEADER_BYTES,
        )

    def pieces(self, data: bytes) -> list[bytes]:
        """Give what of the next bytes of the body belongs to the file."""
        self._pieces = []
        try:
            self._parser.write(data)
        except FormParserError:
            raise RequestError("MALFORMED_UPLOAD") from None
        return self._pieces

    def check_end(self) -> None:
        """Check that the form came to its end and had a file."""
        if not self._is_complete:
            raise RequestError("MALFORMED_UPLOAD")
        if not self._files:
            raise RequestError("MEDIA_MISSING")

    def _begin(self) -> None:
        self._parts += 1
        self._is_file = False
        if self._parts > _MOST_PARTS:
            raise RequestError("MALFORMED_UPLOAD")

    def _begin_header(self) -> None:
        self._name = self._value = b""

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition" and b"filename" in self._value.lower():
            self._is_file = True
            self._files += 1
            if self._files > 1:
                raise RequestError("TOO_MANY_FILES")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])
            return
        self._dropped += end - start
        if self._dropped > _FIELD_BYTES:
            raise RequestError("MALFORMED_UPLOAD")

    def _end(self) -> None:
        self._is_complete = True
