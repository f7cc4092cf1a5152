"""GraphQL over WebSocket (graphql-transport-ws), as a plain ASGI callable.

What an operation may be and cost, how it is found, run, worded and counted is that of GraphQL over HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from msgspec import Struct
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from api.cors import Cors
from api.errors import RequestError
from api.exchange import Receive, Scope, Send
from api.lookup import Lookup
from api.metrics import Metrics
from api.ws_closing import CloseCode, label_of
from api.ws_connection import Connection
from api.ws_memory import LongLived
from api.ws_subscription import SharedPayloads
from domain.access import Viewer
from notifications.live import LiveHub
from resolvers.context import Context, Language

log = structlog.get_logger(__name__)

SUBPROTOCOL: Final = "graphql-transport-ws"
# After a gap sessions are asked for again: so many a second that nobody else waits for the store.
_RECHECKS_A_SECOND: Final = 200
_RECHECK_AGAIN_S: Final = 5.0


class LiveLimits(Struct, frozen=True):
    """The bounds of this transport; `max_connections` for the whole process, the others each connection's."""

    max_connections: int
    max_operations: int
    init_timeout_s: float
    idle_s: float
    send_timeout_s: float
    leave_s: float
    log_sample: float


class GraphQLOverWebSocket:
    """The ASGI application for WebSocket connections to `/graphql`."""

    def __init__(
        self,
        lookup: Lookup,
        hub: Callable[[], LiveHub],
        make_context: Callable[[Language, str, Viewer | None], Context],
        authenticate: Callable[[bytes], Awaitable[Viewer]],
        *,
        limits: LiveLimits,
        metrics: Metrics,
        cors: Cors,
    ) -> None:
        self.lookup = lookup
        self.make_context = make_context
        self.authenticate = authenticate
        self.limits = limits
        self.metrics = metrics
        self.payloads = SharedPayloads()
        self._hub = hub
        self._cors = cors
        self._open = 0
        self._memory = LongLived()
        self.signed_in: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gap = asyncio.Event()

    @property
    def hub(self) -> LiveHub:
        """Give the process's hub. Raises: RequestError before the process has started."""
        return self._hub()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection from its handshake to its close."""
        message = await receive()
        if message["type"] != "websocket.connect":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            self.metrics.live_refused(refusal)
            await _answer(send, refusal)
            return
        self._open += 1
        self.metrics.live_opened()
        self._memory.opened()
        code: int = CloseCode.LOST
        try:
            code = await self._serve(scope, receive, send)
        finally:
            self._open -= 1
            self.metrics.live_closed(label_of(code))
            self._memory.closed()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> int:
        if SUBPROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            code = CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE
            await send({"type": "websocket.close", "code": code, "reason": "Subprotocol not acceptable"})
            return code
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        connection = Connection(self, scope, receive, send)
        try:
            await connection.run()
        finally:
            self.signed_in.discard(connection)
        return connection.code

    def _refusal(self, scope: Scope) -> int | None:
        """Give the HTTP status that refuses a handshake: strangers' pages, too many connections."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        # Browsers let every page connect and say from where it came; other clients send no origin.
        if origin is not None:
            text = origin.decode("latin-1")
            same = urlsplit(text).netloc.encode("latin-1") == headers.get(b"host")
            if not same and not self._cors.allows(text):
                return 403
        return 503 if self._open >= self.limits.max_connections else None

    # --- for connections ----------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something short in the background."""
        self.keep(asyncio.create_task(work))

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keep a task from being collected while it runs."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- revoked sessions whose end was not heard -----------------------------------------------------------

    async def run(self) -> None:
        """Ask for all sessions again whenever events may have been lost, until cancelled."""
        with self.hub.watch_gaps(self._gap.set):
            while True:
                await self._gap.wait()
                self._gap.clear()
                await self._recheck()

    async def _recheck(self) -> None:
        for connection in tuple(self.signed_in):
            while True:
                try:
                    await connection.recheck()
                except (PyMongoError, RedisError, RequestError) as error:
                    log.warning("live.recheck_waits", error=type(error).__name__)
                    await asyncio.sleep(_RECHECK_AGAIN_S)
                except Exception as error:
                    log.error("live.recheck_crashed", exc_info=error)
                    break
                else:
                    break
            await asyncio.sleep(1 / _RECHECKS_A_SECOND)


async def _answer(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0"), (b"cache-control", b"no-store")]
    if status == 503:
        headers.append((b"retry-after", b"5"))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b""})
