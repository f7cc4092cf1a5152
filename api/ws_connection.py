"""One WebSocket connection that speaks graphql-transport-ws, from `connection_init` to its close code.

Source: the GraphQL over WebSocket protocol, https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md.
Nothing is queued for a client here: whoever produces waits until the socket takes more, for a bounded time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from api.errors import RequestError
from api.exchange import ClientGoneError, Receive, Scope, Send, request_id_from
from api.negotiation import language as language_of
from api.ws_closing import CloseCode, cut_reason
from api.ws_operations import Operations
from api.ws_server import SOCKET, Socket
from domain.access import Viewer
from domain.errors import DomainError
from notifications.live import LiveEvent, session_ended_topic
from resolvers.context import Language

if TYPE_CHECKING:
    from api.websocket import GraphQLOverWebSocket

log = structlog.get_logger(__name__)

MAX_ID_CHARS: Final = 128
_CLOSE_S: Final = 1.0
_MALFORMED: Final = frozenset({"INVALID_PARAMETER", "MISSING_QUERY"})


class Connection:
    """The state of one connection; `run` it once."""

    __slots__ = (
        "_ending",
        "_expiry",
        "_initialised",
        "_last",
        "_operations",
        "_patience",
        "_receive",
        "_send",
        "_server",
        "_session",
        "_socket",
        "authorization",
        "code",
        "language",
        "request_id",
        "viewer",
    )

    def __init__(self, server: GraphQLOverWebSocket, scope: Scope, receive: Receive, send: Send) -> None:
        accept_language = request_id = None
        for name, value in scope["headers"]:
            if name == b"accept-language":
                accept_language = value.decode("latin-1")
            elif name == b"x-request-id":
                request_id = value.decode("latin-1")
        self._server = server
        self._receive = receive
        self._send = send
        self._socket: Socket | None = (scope.get("extensions") or {}).get(SOCKET)
        self.language: Language = language_of(accept_language)
        self.request_id = request_id_from(request_id)
        self._operations = Operations(server, self)
        self._session = ExitStack()
        self._initialised = False
        self._ending = False
        self._last = 0.0
        self._patience: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self.authorization: bytes | None = None
        self.viewer: Viewer | None = None
        self.code: int = CloseCode.LOST

    async def run(self) -> None:
        """Serve the client until either side closes; `code` says why."""
        loop = asyncio.get_running_loop()
        limits = self._server.limits
        self._patience = loop.call_later(
            limits.init_timeout_s, self.end, CloseCode.INIT_TIMEOUT, "Connection initialisation timeout"
        )
        try:
            while True:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    if not self._ending:
                        self.code = message.get("code") or CloseCode.LOST
                    return
                if self._ending:
                    continue
                self._last = loop.time()
                try:
                    await self._take(message.get("text"))
                except ClientGoneError:
                    continue  # the disconnect follows
        finally:
            await self._leave()

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the connection; the first reason counts. What is not written yet is dropped."""
        if self._ending:
            return
        self._ending = True
        self.code = code
        self._operations.cancel()
        self._server.spawn(self._close(code, cut_reason(reason)))

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            if self._socket is not None:
                self._socket.abort()
        except (OSError, RuntimeError):
            return  # closed by the other side in the meantime

    async def _leave(self) -> None:
        self._ending = True
        for timer in (self._patience, self._expiry):
            if timer is not None:
                timer.cancel()
        self._session.close()
        await self._operations.leave()

    # --- messages of the client ---------------------------------------------------------------------------

    async def _take(self, text: str | None) -> None:
        message = _parsed(text)
        if message is None:
            self.end(CloseCode.BAD_REQUEST, "Invalid message: expected a JSON object with a type")
            return
        payload = message.get("payload")
        match message["type"]:
            case "connection_init":
                await self._initialise(payload)
            case "ping":
                await self._ping(payload)
            case "pong":
                return
            case "subscribe":
                await self._subscribe(message.get("id"), payload)
            case "complete":
                self._complete(message.get("id"))
            case _:
                self.end(CloseCode.BAD_REQUEST, "Invalid message: unknown or unexpected type")

    async def _initialise(self, payload: object) -> None:
        if self._initialised:
            self.end(CloseCode.TOO_MANY_INITS, "Too many initialisation requests")
            return
        self._initialised = True
        if payload is not None and not isinstance(payload, dict):
            self.end(CloseCode.BAD_REQUEST, "Invalid message: payload must be an object")
            return
        given = payload or {}
        if isinstance(wanted := given.get("acceptLanguage"), str):
            self.language = language_of(wanted[:100])
        authorization = _authorization(given)
        if authorization is not None and not await self._sign_in(authorization):
            return
        if self._patience is not None:
            self._patience.cancel()
        self._watch_idleness()
        ack: dict[str, Any] = {"type": "connection_ack"}
        if self.viewer is not None:
            ack["payload"] = {"expiresAt": self.viewer.expires_at}
        await self.write(orjson.dumps(ack).decode())

    async def _ping(self, payload: object) -> None:
        authorization = _authorization(payload) if isinstance(payload, dict) else None
        if authorization is None:
            await self.write(orjson.dumps({"type": "pong", "payload": payload}).decode())
        elif not self._is_acknowledged:
            self.end(CloseCode.UNAUTHORIZED, "Unauthorized")
        elif await self._sign_in(authorization) and self.viewer is not None:
            renewed = {"expiresAt": self.viewer.expires_at}
            await self.write(orjson.dumps({"type": "pong", "payload": renewed}).decode())

    async def _subscribe(self, id: object, payload: object) -> None:
        if not self._is_acknowledged:
            self.end(CloseCode.UNAUTHORIZED, "Unauthorized")
        elif not isinstance(id, str) or not 0 < len(id) <= MAX_ID_CHARS or not isinstance(payload, dict):
            self.end(CloseCode.BAD_REQUEST, "Invalid message: subscribe needs an id and a payload")
        elif id in self._operations:
            self.end(CloseCode.SUBSCRIBER_EXISTS, f"Subscriber for {id} already exists")
        else:
            await self._operations.start(id, payload)

    def _complete(self, id: object) -> None:
        if isinstance(id, str):
            self._operations.complete(id)

    # --- who is it ----------------------------------------------------------------------------------------

    @property
    def _is_acknowledged(self) -> bool:
        return self._initialised and not self._ending

    async def _sign_in(self, authorization: bytes) -> bool:
        """Take over the viewer of a token, or a newer token of the same viewer; else close."""
        viewer = await self._authenticated(authorization)
        if viewer is None:
            return False
        left_s = (viewer.expires_at - datetime.now(UTC)).total_seconds()
        before = self.viewer
        if left_s <= 0:
            self.end(CloseCode.TOKEN_EXPIRED, "The access token has expired")
        elif before is not None and before.account_id != viewer.account_id:
            self.end(CloseCode.FORBIDDEN, "Forbidden: the token belongs to somebody else")
        elif before is not None and _rights(before) != _rights(viewer):
            # What runs was allowed with other rights.
            self.end(CloseCode.TOKEN_EXPIRED, "Rights have changed; connect again")
        else:
            self._become(viewer, authorization, left_s)
        return not self._ending

    async def _authenticated(self, authorization: bytes) -> Viewer | None:
        try:
            return await self._server.authenticate(authorization)
        except (PyMongoError, RedisError) as error:
            log.warning("live.engine_unavailable", error=type(error).__name__, request_id=self.request_id)
            self.end(CloseCode.TRY_LATER, "Try again later")
        except (RequestError, DomainError) as error:
            code = error.code
            unavailable = isinstance(error, RequestError) and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            if unavailable:
                self.end(CloseCode.TRY_LATER, f"Try again later: {code}")
            else:
                self._server.metrics.error(code)
                self.end(CloseCode.FORBIDDEN, f"Forbidden: {code}")
        except Exception as error:
            log.error("live.crashed", request_id=self.request_id, exc_info=error)
            self.end(CloseCode.INTERNAL_ERROR, f"Internal error {self.request_id}")
        return None

    def _become(self, viewer: Viewer, authorization: bytes, left_s: float) -> None:
        watched = None if self.viewer is None else self.viewer.session_id
        self.viewer = viewer
        self.authorization = authorization
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(
            left_s, self.end, CloseCode.TOKEN_EXPIRED, "The access token has expired"
        )
        if watched != viewer.session_id:
            self._session.close()
            topic = session_ended_topic(viewer.session_id)
            self._session.enter_context(self._server.hub.watch(topic, self._session_ended))
            self._server.signed_in.add(self)

    def _session_ended(self, _: LiveEvent) -> None:
        self.end(CloseCode.SESSION_ENDED, "The session has ended")

    async def recheck(self) -> None:
        """Ask again whether the token holds: its end may not have been heard."""
        if self.authorization is None or self._ending:
            return
        try:
            await self._server.authenticate(self.authorization)
        except (RequestError, DomainError) as error:
            if isinstance(error, RequestError) and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            self.end(CloseCode.SESSION_ENDED, "The session has ended")

    def _watch_idleness(self) -> None:
        loop = asyncio.get_running_loop()
        idle_s = self._server.limits.idle_s
        left_s = self._last + idle_s - loop.time()
        if self._operations:
            left_s = idle_s
        if left_s <= 0:
            self.end(CloseCode.IDLE, "Idle for too long")
        else:
            self._patience = loop.call_later(left_s, self._watch_idleness)

    # --- out ----------------------------------------------------------------------------------------------

    async def write(self, text: str) -> None:
        """Send a message. Raises: ClientGoneError, also when the client does not read for too long."""
        if self._ending:
            raise ClientGoneError
        message = {"type": "websocket.send", "text": text}
        try:
            if self._socket is not None and self._socket.is_writable:
                await self._send(message)
                return
            async with asyncio.timeout(self._server.limits.send_timeout_s):
                await self._send(message)
        except TimeoutError:
            self.end(CloseCode.SLOW_READER, "Too slow: messages are not read")
            raise ClientGoneError from None
        except (OSError, RuntimeError):
            raise ClientGoneError from None  # the other side closed; `receive` says so


def _parsed(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) and isinstance(message.get("type"), str) else None


def _authorization(payload: Mapping[str, Any]) -> bytes | None:
    value = payload.get("authorization") or payload.get("Authorization")
    if value is None:
        return None
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"?"


def _rights(viewer: Viewer) -> tuple[object, ...]:
    return (viewer.roles, viewer.assurance, viewer.company_code, viewer.unit, viewer.division_code)
