"""`POST /media`: one photo, recording or video in, its id and links out.

Mini-programs can upload in no other way. Refusals look as those of `/graphql` do.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from api.cors import Cors
from api.errors import ENGINE_UNAVAILABLE, INTERNAL_ERROR, RequestError, has_texts, text_of
from api.exchange import ClientGoneError, Exchange, Headers, Receive, Scope, Send
from api.media_body import Pace, receive_file
from api.metrics import Metrics
from domain.access import Viewer
from domain.account import TooManyRequestsError
from domain.errors import DomainError
from domain.media import (
    InvalidUploadTokenError,
    MediaBusyError,
    MediaDamagedError,
    MediaLinkError,
    MediaNotFoundError,
    MediaTooLargeError,
    MediaTypeError,
    TooManyMediaError,
    kind_of,
)
from operations import media as operations
from operations.media import Attachments, Uploader
from store.media_links import Links
from store.media_spool import open_spool

log = structlog.get_logger(__name__)

_STATUSES: Final[dict[str, HTTPStatus]] = {
    TooManyRequestsError.code: HTTPStatus.TOO_MANY_REQUESTS,
    InvalidUploadTokenError.code: HTTPStatus.BAD_REQUEST,
    MediaBusyError.code: HTTPStatus.SERVICE_UNAVAILABLE,
    MediaDamagedError.code: HTTPStatus.UNPROCESSABLE_ENTITY,
    MediaLinkError.code: HTTPStatus.FORBIDDEN,
    MediaNotFoundError.code: HTTPStatus.NOT_FOUND,
    MediaTooLargeError.code: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    MediaTypeError.code: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TooManyMediaError.code: HTTPStatus.CONFLICT,
}
_AT_ONCE: Final = 64
_AT_ONCE_EACH: Final = 10  # what WeChat lets a mini-program do at the same time
_BUSY_S: Final = 5
_DRAINED_BYTES: Final = 1 << 24
_DRAIN_S: Final = 3.0


class Slots:
    """Bounds the bodies that are received at the same time: disk, connections, whoever sends slowly."""

    def __init__(self, most: int = _AT_ONCE, each: int = _AT_ONCE_EACH) -> None:
        self._most = most
        self._each = each
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, key: str) -> Iterator[None]:
        """Hold a slot. Raises: MediaBusyError when there are none, or the key has its share."""
        if self._taken.total() >= self._most or self._taken[key] >= self._each:
            raise MediaBusyError(seconds=_BUSY_S)
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]


class MediaUploads:
    """The ASGI application at `/media`."""

    def __init__(
        self,
        attachments: Callable[[], Attachments],
        authenticate: Callable[[bytes], Awaitable[Viewer]],
        address_of: Callable[[Scope], str],
        *,
        metrics: Metrics,
        cors: Cors,
        pace: Pace | None = None,
    ) -> None:
        self._attachments = attachments
        self._authenticate = authenticate
        self._address_of = address_of
        self._metrics = metrics
        self._cors = cors
        self._pace = pace or Pace()
        self._slots = Slots()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope["headers"])
        if scope["method"] == "OPTIONS":
            await respond(send, 204, list(self._cors.preflight(scope["headers"])), b"")
            return
        reading = _Reading(receive)
        try:
            status, headers, body = await self._answer(scope, reading, exchange)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - worded or masked, and logged, by `refusal`
            status, headers, body = refusal(error, exchange)
            self._metrics.media_refused(_code_of(error))
            if not reading.is_done:
                headers.append((b"connection", b"close"))
        own = self._common(exchange)
        if reading.is_done or _expects(scope["headers"]):
            await respond(send, status, headers + own, body)
        else:
            await respond(send, status, headers + own, body, then=reading.drain)

    async def _answer(
        self, scope: Scope, reading: _Reading, exchange: Exchange
    ) -> tuple[int, Headers, bytes]:
        if scope["method"] != "POST":
            raise RequestError("METHOD_NOT_ALLOWED", allow="POST")
        if exchange.content_encoding not in (None, b"identity"):
            raise RequestError("MALFORMED_UPLOAD")
        attachments = self._attachments()
        given = exchange.authorization
        viewer = None if given is None else await self._authenticate(given)
        uploader = await operations.uploader_of(attachments, viewer, _token(scope["headers"]))
        address = self._address_of(scope)
        with self._slots.take(uploader.owner if viewer else address):
            await operations.admit(attachments, uploader, address)
            return await self._take(attachments, uploader, reading, exchange)

    async def _take(
        self, attachments: Attachments, uploader: Uploader, reading: _Reading, exchange: Exchange
    ) -> tuple[int, Headers, bytes]:
        async with open_spool(attachments.spool_root) as spool:
            format_ = await receive_file(
                reading.receive,
                exchange.content_type,
                exchange.content_length,
                spool,
                attachments.cleaner.limits,
                self._pace,
            )
            now = datetime.now(UTC)
            kept = await operations.keep(attachments, uploader, spool, format_, now=now)
            self._metrics.media_kept(
                kind_of(format_).value, spool.size, kept.cleaning_s if kept.is_new else None
            )
        links = await attachments.links.make(kept.media, now=now)
        body = orjson.dumps(shown(kept, links, uploader))
        headers = [(b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-store")]
        return (201 if kept.is_new else 200), headers, body

    def _common(self, exchange: Exchange) -> Headers:
        headers: Headers = [(b"x-request-id", exchange.request_id.encode("ascii"))]
        if exchange.origin is not None:
            headers += self._cors.headers(exchange.origin)
        return headers


class _Reading:
    """A request's body, and whether it was read to its end."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_done = False

    async def receive(self) -> Any:
        """Give the next message."""
        message = await self._receive()
        self.is_done = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read on for a moment: who still sends when the connection is closed may never see the answer."""
        size = 0
        try:
            async with asyncio.timeout(_DRAIN_S):
                while not self.is_done and size < _DRAINED_BYTES:
                    size += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def shown(kept: operations.Kept, links: Links, uploader: Uploader) -> dict[str, Any]:
    """Show an upload to whoever sent it; instants are UTC."""
    media, cleaned = kept.media, kept.media.cleaned
    answer = {
        "id": media.id,
        "kind": cleaned.kind.value,
        "contentType": cleaned.content_type,
        "sizeBytes": media.size_bytes,
        "width": cleaned.width,
        "height": cleaned.height,
        "durationS": cleaned.duration_s,
        "url": links.url,
        "thumbnailUrl": links.thumbnail_url,
        "expiresAt": links.expires_at,
        "keptUntil": media.expires_at,
    }
    return answer if uploader.token is None else {**answer, "uploadToken": uploader.token}


def refusal(error: Exception, exchange: Exchange) -> tuple[int, Headers, bytes]:
    """Word a refusal as `/graphql` does, with its status; what nobody foresaw is masked and logged."""
    params: dict[str, Any] = {}
    if isinstance(error, RequestError):
        code, status, params = error.code, error.status, error.params
    elif isinstance(error, DomainError) and has_texts(error.code):
        code, status, params = error.code, _STATUSES.get(error.code, HTTPStatus.BAD_REQUEST), error.params
    elif isinstance(error, PyMongoError | RedisError):
        log.warning("media.engine_unavailable", error=type(error).__name__, request_id=exchange.request_id)
        code, status = ENGINE_UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE
    else:
        log.error("media.unexpected_error", request_id=exchange.request_id, exc_info=error)
        code, status = INTERNAL_ERROR, HTTPStatus.INTERNAL_SERVER_ERROR
    message = text_of(code, exchange.language, {"request_id": exchange.request_id, **params})
    extensions: dict[str, Any] = {"code": code, **params}
    if code in (INTERNAL_ERROR, ENGINE_UNAVAILABLE):
        extensions["requestId"] = exchange.request_id
    headers = [(b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-store")]
    if "seconds" in params:
        headers.append((b"retry-after", str(params["seconds"]).encode()))
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", str(params["allow"]).encode()))
    if status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="mintong", error="invalid_token"'))
    return int(status), headers, orjson.dumps({"errors": [{"message": message, "extensions": extensions}]})


async def respond(
    send: Send,
    status: int,
    headers: Headers,
    body: bytes,
    *,
    then: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Send a whole answer; `then` is done before the server learns that it was whole, and may close."""
    if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if then is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await then()
        body = b""
    await send({"type": "http.response.body", "body": body})


def _code_of(error: Exception) -> str:
    if isinstance(error, RequestError | DomainError):
        return error.code
    return ENGINE_UNAVAILABLE if isinstance(error, PyMongoError | RedisError) else INTERNAL_ERROR


def _expects(headers: Headers) -> bool:
    """Tell whether the client sends its body only when it is told to, which it now is not."""
    return any(name == b"expect" for name, _ in headers)


def _token(headers: Headers) -> str | None:
    given = next((value for name, value in headers if name == b"x-upload-token"), None)
    return None if given is None else given[:100].decode("latin-1")
