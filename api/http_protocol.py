"""uvicorn's HTTP protocol, answering plain POSTs to `/graphql` where they arrive, without ASGI in between.

A request is plain when its head was seen before, byte for byte, and nothing in it is unusual; the first
request with a head is parsed and answered in the ordinary way, and its head remembered. Whoever signs in,
sends a large body, asks for another path or pipelines goes the ordinary way every time.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.answers import Answer
from api.direct import MAX_HEAD, DirectAnswers, Head, detached

_POST: Final = b"POST /graphql HTTP/1.1\r\n"
_MAX_KNOWN: Final = 8

_LINES: Final[list[Any]] = [None, b""]
"""The server's own headers (the date), of which it makes a new list every second, and their lines."""


class GraphQLProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._direct: DirectAnswers | None = getattr(self.app, "direct", None)
        self._new_head: bytes | None = None
        self._is_between = True
        """Whether the parser has read whole messages only."""
        self._known: dict[int, Head] = {}
        """The heads of requests that were answered here, by the size of the whole request."""
        self._answered_at = 0.0
        """On `perf_counter`, as the time of an answer is."""

    def data_received(self, data: bytes) -> None:
        """Answer at once what can be; hand the rest to the parser."""
        direct = self._direct
        if direct is not None and self._is_between and self._is_idle():
            started, lines = perf_counter(), self._server_lines()
            answer = direct.reply(data, started, lines)
            if answer is None:
                answer = self._answer(direct, data, started, lines)
            if answer:
                self._write(answer, started)
            if answer is not None:
                return
        super().data_received(data)
        self._new_head = None

    def _recognise(self, direct: DirectAnswers, data: bytes) -> Head | None:
        """Find a request's head among those seen before; another of this size is likely to have the same."""
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD) if data.startswith(_POST) else -1
        if end <= 0:
            return None
        known = direct.find(data[:end])
        if known is None:
            self._new_head = data[:end]
        elif len(data) == end + 4 + known.content_length:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[len(data)] = known
            return known
        return None

    def _is_idle(self) -> bool:
        """Tell whether an answer may be written now: nothing before it is unanswered or unsent."""
        limit, cycle = self.limit_concurrency, self.cycle
        return (
            (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and (limit is None or (len(self.connections) < limit and len(self.tasks) < limit))
        )

    def _answer(self, direct: DirectAnswers, data: bytes, started: float, lines: bytes) -> bytes | None:
        """Run a request and write its answer: none yet for what has to wait, None for what is not plain."""
        known = self._known.get(len(data))
        if known is None or not data.startswith(known.start):
            known = self._recognise(direct, data)
        if known is None or (answer := direct.answer(known, data[len(known.start) :])) is None:
            return None
        if answer.__class__ is Answer and (written := direct.write(known, answer, data, started, lines)):
            return written
        # What waits goes on as the application of an ordinary request.
        app, self.app = self.app, partial(direct.finish, detached(known), answer, started)
        try:
            super().data_received(data)
        finally:
            self.app = app
        return b""

    def _write(self, answer: bytes, started: float) -> None:
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self._answered_at = started
        if self.timeout_keep_alive_task is None:
            self._watch_idleness(self.timeout_keep_alive)

    def _server_lines(self) -> bytes:
        headers = self.server_state.default_headers
        if _LINES[0] is not headers:
            _LINES[:] = headers, b"".join([b"%b: %b\r\n" % pair for pair in headers])
        lines: bytes = _LINES[1]
        return lines

    # --- the parser's callbacks ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Note that the parser is inside a message."""
        self._is_between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Remember a head that the parser accepted."""
        head, self._new_head = self._new_head, None
        if head is not None and self._direct is not None and self.parser.should_keep_alive():
            self._direct.learn(head, self.headers)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the parser has read a whole message."""
        self._is_between = True
        super().on_message_complete()

    # --- idle connections ---------------------------------------------------------------------------------

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless requests were answered here since the timer was set."""
        idle_s = perf_counter() - self._answered_at
        if idle_s < self.timeout_keep_alive:
            self._watch_idleness(self.timeout_keep_alive - idle_s)
        else:
            super().timeout_keep_alive_handler()

    def _watch_idleness(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
