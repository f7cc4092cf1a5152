"""Answers plain POSTs to `/graphql` where they arrive, without ASGI in between.

A request is plain when its head was seen before, byte for byte, and nothing in it is unusual. Whoever signs
in, sends a large body, asks for another path or pipelines goes the ordinary way every time.
"""

from __future__ import annotations

from time import perf_counter

from api.http_connection import Connection


class GraphQLProtocol(Connection):
    """One connection."""

    def data_received(self, data: bytes) -> None:
        """Answer at once what can be; start what has to wait; hand the rest to the parser."""
        direct = self.direct
        if direct is None or not self.is_idle():
            self.parse(data)
            return
        started, lines = perf_counter(), self.server_lines()
        written = direct.reply(data, started, lines)
        if written is not None:
            self._write(written, started)
        elif (head := self.find(data)) is None:
            self.parse(data)
        elif isinstance(answer := direct.answer(head, data, started, lines), bytes):
            self._write(answer, started)
        else:
            self.start(head, data, answer or self.app, {})

    def _write(self, answer: bytes, started: float) -> None:
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self.answered_at = started
        if self.timeout_keep_alive_task is None:
            self.watch_idleness(self.timeout_keep_alive)
