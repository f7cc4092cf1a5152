"""uvicorn's HTTP protocol with less work for POSTs to `/graphql`: those whose heads were seen are not parsed.

They go through ASGI like all others. The first request with a head is parsed and its head remembered, unless
there is anything unusual about it; split, pipelined and all other requests are left to uvicorn.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final
from weakref import ref

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.direct import WRITTEN, DirectAnswers
from api.heads import MAX_HEAD, Head

_POST: Final = b"POST /graphql HTTP/1.1\r\n"
_MAX_KNOWN: Final = 8

_LINES: Final[list[Any]] = [None, b""]
"""The server's own headers (the date), of which it makes a new list every second, and their lines."""


class Cycle(RequestResponseCycle):
    """One request and its answer, which may be sent in one piece."""

    async def send(self, message: Any) -> None:
        """Send what an ASGI application says."""
        if message["type"] != WRITTEN:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected:
            self.transport.write(message["bytes"])
            self.response_started = self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.direct: DirectAnswers | None = getattr(self.app, "direct", None)
        self.answered_at = perf_counter()
        """When the last answer was complete, or the connection opened, on `perf_counter`."""
        self.is_between = True
        """Whether all that was received was whole messages, and they were started."""
        self._known: dict[int, ref[Head]] = {}
        """Heads of requests on this connection, by the size of the whole request."""
        self._new_head: bytes | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        super().connection_lost(exc)
        self._stop_watching()

    def handle_websocket_upgrade(self) -> None:
        """Stop watching: the connection belongs to another protocol now."""
        self._stop_watching()
        super().handle_websocket_upgrade()

    # --- requests that need no parser ---------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Start a request with a known head; hand the rest to the parser."""
        if self.is_idle() and (head := self.find(data)) is not None:
            self.start(head, data, self.app, {WRITTEN: (head, data, self.server_lines())})
        else:
            self.parse(data)

    def is_idle(self) -> bool:
        """Tell whether a request may be answered now: nothing before it is unread, unanswered or unsent."""
        limit, cycle = self.limit_concurrency, self.cycle
        return (
            self.is_between
            and (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and (limit is None or (len(self.connections) < limit and len(self.tasks) < limit))
        )

    def find(self, data: bytes) -> Head | None:
        """Find the head of a whole request among those seen; one of the same size likely has the same."""
        known = self._known.get(len(data))
        head = None if known is None else known()
        return head if head is not None and data.startswith(head.start) else self._recognise(data)

    def _recognise(self, data: bytes) -> Head | None:
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD) if data.startswith(_POST) else -1
        if end <= 0 or self.direct is None:
            return None
        known = self.direct.heads.find(data[:end])
        if known is None:
            self._new_head = data[:end]
        elif len(data) == end + 4 + known.content_length:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[len(data)] = ref(known)
            return known
        return None

    def start(self, head: Head, request: bytes, app: Any, extensions: dict[str, Any]) -> None:
        """Start the application of a whole request."""
        scope: Any = head.scope_for(
            client=self.client, server=self.server, state=self.app_state.copy(), extensions=extensions
        )
        self.cycle = cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.body += request[len(head.start) :]
        cycle.more_body = False
        cycle.message_event.set()
        self._start_asgi_task(cycle, app)

    def server_lines(self) -> bytes:
        """Write the server's own headers as lines."""
        headers = self.server_state.default_headers
        if _LINES[0] is not headers:
            _LINES[:] = headers, b"".join([b"%b: %b\r\n" % pair for pair in headers])
        lines: bytes = _LINES[1]
        return lines

    # --- the parser ---------------------------------------------------------------------------------------

    def parse(self, data: bytes) -> None:
        """Hand bytes to the parser, which starts what it finds."""
        super().data_received(data)
        self._new_head = None

    def on_message_begin(self) -> None:
        """Note that the parser is inside a message."""
        self.is_between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Remember a head that the parser accepted."""
        head, self._new_head = self._new_head, None
        super().on_headers_complete()
        if head is not None and self.direct is not None and self.parser.should_keep_alive():
            scope: Any = self.scope
            self.direct.heads.learn(head, scope)

    def on_message_complete(self) -> None:
        """Note that the parser has read a whole message."""
        self.is_between = True
        super().on_message_complete()

    # --- idle connections ---------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Start what was pipelined, or be idle from now on; one timer serves all answers."""
        self.answered_at = perf_counter()
        if self.timeout_keep_alive_task is None or self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()

    def _unset_keepalive_if_required(self) -> None:
        """Let the timer run: it looks itself whether the connection was idle."""

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless it is being used or was since the timer was set."""
        cycle, idle_s = self.cycle, perf_counter() - self.answered_at
        if not self.is_between or (cycle is not None and not cycle.response_complete):
            self.watch_idleness(self.timeout_keep_alive)
        elif idle_s < self.timeout_keep_alive:
            self.watch_idleness(self.timeout_keep_alive - idle_s)
        else:
            super().timeout_keep_alive_handler()

    def watch_idleness(self, seconds: float) -> None:
        """Look after some seconds whether the connection is idle."""
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _stop_watching(self) -> None:
        timer, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        if timer is not None:
            timer.cancel()
