"""Stored answers found by the very bytes that asked for them: nothing is parsed, nothing is run.

An entry names an answer of the engine's response cache, which alone decides whether it may still be given.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Self
from weakref import ref

from api.documents import BoundedCache
from engine.responses import ResponseCache, StoredResponse
from resolvers.context import Language

_MAX_ENTRIES: Final = 20_000
_MAX_BYTES: Final = 8_000_000
_TOUCH_EVERY: Final = 16  # uses; often enough for an answer in use not to count as the least recently used


class ReadyAnswer(ref[StoredResponse]):
    """Refers to a stored answer; the response cache alone keeps it alive."""

    __slots__ = ("operation", "snapshot", "uses")

    def __new__(cls, stored: StoredResponse, *_: object) -> Self:
        """Make the reference."""
        return super().__new__(cls, stored)

    def __init__(self, stored: StoredResponse, operation: str | None) -> None:
        self.operation = operation
        self.snapshot = stored.key.snapshot
        self.uses = 0


class ReadyAnswers:
    """Which stored answer belongs to which request body and language, for the data served now."""

    def __init__(self, responses: ResponseCache, versions: Callable[[], Hashable]) -> None:
        self._responses = responses
        self._clock = responses.clock
        self._versions = versions
        self._entries: BoundedCache[ReadyAnswer] = BoundedCache(_MAX_ENTRIES, _MAX_BYTES)
        self._peek = self._entries.peek

    def find(self, body: bytes, language: Language) -> tuple[str | None, StoredResponse] | None:
        """Give the operation's name and its stored answer, None where there is none."""
        entry = self._peek((body, language))
        if entry is None or (stored := self.given(entry)) is None:
            return None
        if not entry.uses % _TOUCH_EVERY:
            self._entries.get((body, language))
        return entry.operation, stored

    def given(self, entry: ReadyAnswer) -> StoredResponse | None:
        """Give a stored answer that was remembered, as long as it may be given."""
        stored, responses = entry(), self._responses
        if stored is None or entry.snapshot != self._versions() or stored.expires_s <= self._clock():
            return None
        entry.uses = uses = entry.uses + 1
        if uses % _TOUCH_EVERY:
            responses.hits += 1
        else:
            responses.find(stored.key)
        return stored

    def remember(
        self, body: bytes, language: Language, operation: str | None, stored: StoredResponse
    ) -> None:
        """Remember that a body is answered by this stored answer."""
        self._entries.put((body, language), ReadyAnswer(stored, operation), len(body) + 200)
