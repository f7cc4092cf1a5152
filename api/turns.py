"""Who is answered next: of all connections with a request, the one that was answered the longest ago.

The kernel tells of connections in rounds, always in the same order, and of a request that comes just after a
round has begun only at the end of the next: one in some sixty would wait twice as long as the others.
"""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import Protocol


class Waiting(Protocol):
    """A connection with a request to answer; `answered_at` is when it was answered last."""

    loop: asyncio.AbstractEventLoop
    answered_at: float

    def take_turn(self) -> None:
        """Answer the request."""


class Turns:
    """The connections that wait on one event loop, each at most once in a round."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []

    def add(self, connection: Waiting) -> None:
        """Let a connection take its turn once the kernel has told of all others."""
        if not self._waiting:
            connection.loop.call_soon(self._serve)
        self._waiting.append(connection)

    def _serve(self) -> None:
        waiting, self._waiting = self._waiting, []
        # Taken from the end.
        waiting.sort(key=attrgetter("answered_at"), reverse=True)
        try:
            while waiting:
                waiting.pop().take_turn()
        finally:
            for connection in reversed(waiting):
                self.add(connection)
