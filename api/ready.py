"""Stored answers found by the very bytes that asked for them: nothing is parsed, nothing is run.

An entry names an answer of the engine's response cache, which alone decides whether it may still be given.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final
from weakref import ref

from api.documents import BoundedCache
from engine.responses import ResponseCache, StoredResponse
from resolvers.context import Language

_MAX_ENTRIES: Final = 20_000
_MAX_BYTES: Final = 8_000_000
_TOUCH_EVERY: Final = 16  # uses; often enough for an answer in use not to count as the least recently used


class ReadyAnswer:
    """Refers to a stored answer; the response cache alone keeps it alive."""

    __slots__ = ("key", "operation", "reference", "snapshot", "uses")

    def __init__(self, key: tuple[bytes, Language], operation: str | None, stored: StoredResponse) -> None:
        self.key = key
        self.operation = operation
        self.reference = ref(stored)
        self.snapshot = stored.key.snapshot
        self.uses = 0


class ReadyAnswers:
    """Which stored answer belongs to which request body and language, for the data served now."""

    def __init__(self, responses: ResponseCache, versions: Callable[[], Hashable]) -> None:
        self._responses = responses
        self._versions = versions
        self._entries: BoundedCache[ReadyAnswer] = BoundedCache(_MAX_ENTRIES, _MAX_BYTES)
        self._peek = self._entries.peek

    def find(self, body: bytes, language: Language) -> tuple[ReadyAnswer, StoredResponse] | None:
        """Give the stored answer to a body with what is remembered of it, None where there is none."""
        entry = self._peek((body, language))
        if entry is None:
            return None
        stored = self.given(entry)
        return None if stored is None else (entry, stored)

    def given(self, entry: ReadyAnswer) -> StoredResponse | None:
        """Give a stored answer that was remembered, as long as it may be given."""
        if entry.snapshot != self._versions():
            return None
        stored, responses = entry.reference(), self._responses
        if stored is None or stored.expires_s <= responses.clock():
            return None
        entry.uses += 1
        if entry.uses % _TOUCH_EVERY:
            responses.hits += 1
        else:
            self._entries.get(entry.key)
            responses.find(stored.key)
        return stored

    def remember(
        self, body: bytes, language: Language, operation: str | None, stored: StoredResponse
    ) -> None:
        """Remember that a body is answered by this stored answer."""
        key = (body, language)
        self._entries.put(key, ReadyAnswer(key, operation, stored), len(body) + 200)
