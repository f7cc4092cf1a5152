"""`GET /media/{id}` and `/media/{id}/thumbnail`: attachments, for whoever holds a link that is still good.

Nothing that a stranger wrote is served: these are the files that cleaning has made, and browsers are told
not to guess what they are and not to run anything in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import structlog
from msgspec import Struct
from pymongo.errors import PyMongoError

from api.answers import not_modified
from api.cors import Cors
from api.errors import RequestError
from api.exchange import Exchange, Headers, Receive, Scope, Send
from api.media import refusal, respond
from domain.media import INLINE_TYPES, Media, MediaLinkError, MediaNotFoundError, MediaVariant
from operations.media import Attachments
from store.media_files import MediaFiles, StoredFile

log = structlog.get_logger(__name__)

_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_SECURITY: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"accept-ranges", b"bytes"),
]
_VARIANTS: Final = {variant.value: variant for variant in MediaVariant}
_THUMBNAIL_TYPE: Final = "image/jpeg"


class Part(Struct, frozen=True):
    """The bytes from `first` until before `end` of a file."""

    first: int
    end: int


class MediaReading:
    """The ASGI application at `/media/{media_id}` and `/media/{media_id}/{variant}`."""

    def __init__(self, attachments: Callable[[], Attachments], *, cors: Cors) -> None:
        self._attachments = attachments
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope["headers"])
        headers: Headers = [(b"x-request-id", exchange.request_id.encode("ascii"))]
        if exchange.origin is not None:
            headers += self._cors.headers(exchange.origin)
        try:
            media, variant, left_s = await self._find(scope)
            attachments = self._attachments()
            digest = media.content if variant is MediaVariant.ORIGINAL else media.thumbnail
            file = None if digest is None else await attachments.store.files.find(digest)
            if digest is None or file is None:
                raise MediaNotFoundError
        except Exception as error:  # noqa: BLE001 - worded or masked, and logged, by `refusal`
            status, own, body = refusal(error, exchange)
            await respond(send, status, own + headers, body)
            return
        headers += _describe(media, variant, digest, left_s)
        if not_modified(exchange.if_none_match, f'"{digest}"'.encode()):
            await respond(send, 304, headers, b"")
            return
        is_head = scope["method"] == "HEAD"
        await _send_file(attachments.store.files, file, scope["headers"], headers, send, is_head=is_head)

    async def _find(self, scope: Scope) -> tuple[Media, MediaVariant, int]:
        """Find what a link leads to and how many seconds it is good for."""
        if scope["method"] not in ("GET", "HEAD"):
            raise RequestError("METHOD_NOT_ALLOWED", allow="GET, HEAD")
        names: dict[str, Any] = scope["path_params"]
        given = names.get("variant", MediaVariant.ORIGINAL.value)
        variant = _VARIANTS.get(given)
        if variant is None:
            raise MediaNotFoundError
        try:
            query = dict(parse_qsl(scope["query_string"].decode("ascii"), max_num_fields=10))
        except ValueError:
            raise MediaLinkError from None
        media_id, attachments = names["media_id"], self._attachments()
        until, signature = query.get("until", ""), query.get("signature", "")
        left_s = await attachments.links.check(media_id, variant, until, signature, now=datetime.now(UTC))
        media = await attachments.store.find(media_id)
        if media is None:
            raise MediaNotFoundError
        return media, variant, left_s


def _describe(media: Media, variant: MediaVariant, digest: str, left_s: int) -> Headers:
    is_original = variant is MediaVariant.ORIGINAL
    content_type = media.cleaned.content_type if is_original else _THUMBNAIL_TYPE
    disposition = "inline" if content_type in INLINE_TYPES else "attachment"
    ending = INLINE_TYPES.get(content_type, "bin")
    return [
        *_SECURITY,
        (b"content-type", content_type.encode()),
        (b"content-disposition", f'{disposition}; filename="{media.id}.{ending}"'.encode()),
        (b"cache-control", f"private, max-age={left_s}, immutable".encode()),
        (b"etag", f'"{digest}"'.encode()),
    ]


async def _send_file(
    files: MediaFiles, file: StoredFile, given: Headers, headers: Headers, send: Send, *, is_head: bool
) -> None:
    asked = next((value for name, value in given if name == b"range"), None)
    condition = next((value for name, value in given if name == b"if-range"), None)
    whole = Part(0, file.size_bytes)
    part: Part | None = whole
    if asked is not None and (condition is None or (b"etag", condition) in headers):
        part = requested_part(asked.decode("latin-1"), file.size_bytes)
    if part is None:
        headers = [*headers, (b"content-range", f"bytes */{file.size_bytes}".encode())]
        await respond(send, 416, headers, b"")
        return
    status = 200
    if part != whole:
        status = 206
        shown = f"bytes {part.first}-{part.end - 1}/{file.size_bytes}"
        headers = [*headers, (b"content-range", shown.encode())]
    headers = [*headers, (b"content-length", str(part.end - part.first).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if not is_head:
        try:
            async for data in files.read(file, part.first, part.end):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except (PyMongoError, EOFError) as error:
            # The head is out: the server closes the connection, and the client sees that bytes are missing.
            log.warning("media.read_broken", error=type(error).__name__)
            return
    await send({"type": "http.response.body", "body": b""})


def requested_part(header: str, size: int) -> Part | None:
    """Read a Range header (RFC 9110, 14.1.2): the whole file for what is not one range of bytes.

    None when no byte of the range exists.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return Part(0, size)
    if not match[1]:
        length = int(match[2])
        return Part(max(0, size - length), size) if length and size else None
    first = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if last < first and match[2]:
        return Part(0, size)
    return Part(first, min(last + 1, size)) if first < size else None
