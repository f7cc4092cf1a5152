"""Answers plain POSTs to `/graphql` where they arrive, without ASGI in between.

A request is plain when its head was seen before, byte for byte, and nothing in it is unusual. Whoever signs
in, sends a large body, asks for another path or pipelines goes the ordinary way every time.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from api.heads import Head
from api.http_connection import Connection


class GraphQLProtocol(Connection):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._waiting: tuple[Head, bytes, float] | None = None
        """The request whose turn has not come: its head, all its bytes, when it arrived."""

    def data_received(self, data: bytes) -> None:
        """Give a stored answer at once; let others wait for their turn, or hand them to the parser."""
        if self._waiting is not None:
            self._answer_now()
        direct = self.direct
        if direct is None or not self.is_idle():
            self.parse(data)
            return
        started = perf_counter()
        written = direct.reply(data, started, self.server_lines())
        if written is not None:
            self.write(written, started)
        elif (head := self.find(data)) is None:
            self.parse(data)
        else:
            self._waiting, self.is_between = (head, data, started), False
            direct.turns.add(self)

    def take_turn(self) -> bytes | None:
        """Answer the request that waits, if there is one; start what has to wait for something else."""
        if self._waiting is None:
            return None
        head, data, started = self._waiting
        self._waiting, self.is_between = None, True
        if self.direct is None or self.transport.is_closing():
            return None
        try:
            answer = self.direct.answer(head, data, started, self.server_lines())
            if isinstance(answer, bytes):
                return answer
            self.start(head, data, answer or self.app, {})
        except Exception:
            self.transport.abort()
            raise
        return None

    def write(self, answer: bytes, answered_at: float) -> None:
        """Send an answer, and be idle from now on."""
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self.answered_at = answered_at
        if self.timeout_keep_alive_task is None:
            self.watch_idleness(self.timeout_keep_alive)

    def shutdown(self) -> None:
        """Answer what came, then close the connection."""
        self._answer_now()
        super().shutdown()

    def _answer_now(self) -> None:
        answer = self.take_turn()
        if answer is not None:
            self.write(answer, perf_counter())
