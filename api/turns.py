"""Who is answered next: of all connections with a request, the one that was answered the longest ago.

The kernel tells of connections in rounds, always in the same order, and of a request that comes just after a
round has begun only at the end of the next: one in some sixty would wait twice as long as the others.

A few requests are answered before any of their answers is sent, and new requests are looked for before the
next few. Whoever is on the other side of the connections is woken once for all these answers, not for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import perf_counter
from typing import Final, Protocol

_MOST_AT_ONCE: Final = 16
_AT_MOST_S: Final = 0.001  # after which none more is answered before those that were are sent


class Waiting(Protocol):
    """A connection with a request to answer; `answered_at` is when it was answered last, or opened."""

    loop: asyncio.AbstractEventLoop
    answered_at: float

    def take_turn(self) -> bytes | None:
        """Answer the request; None where there is nothing to send, or not yet."""

    def write(self, answer: bytes, answered_at: float) -> None:
        """Send an answer."""


class Turns:
    """The connections that wait on one event loop."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, int, Waiting]] = []
        self._arrivals = count()

    def add(self, connection: Waiting) -> None:
        """Let a connection take its turn once the kernel has told of all others."""
        if not self._waiting:
            connection.loop.call_soon(self._serve, connection.loop)
        heappush(self._waiting, (connection.answered_at, next(self._arrivals), connection))

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer a few requests, then send what was answered."""
        waiting, answered = self._waiting, list[tuple[Waiting, bytes | None]]()
        until = self._clock() + _AT_MOST_S
        try:
            while waiting and len(answered) < _MOST_AT_ONCE and self._clock() < until:
                connection = heappop(waiting)[-1]
                answered.append((connection, connection.take_turn()))
        finally:
            if waiting:
                loop.call_soon(self._serve, loop)
            now = self._clock()
            for connection, answer in answered:
                if answer is not None:
                    connection.write(answer, now)
