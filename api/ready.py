"""Stored answers found by the very bytes that asked for them: nothing is parsed, nothing is run.

An entry names an answer of the engine's response cache, which alone decides whether it may still be given.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from msgspec import Struct

from api.documents import BoundedCache
from engine.responses import ResponseCache, ResponseKey, StoredResponse
from resolvers.context import Language

_MAX_ENTRIES: Final = 20_000
_MAX_BYTES: Final = 8_000_000


class _Entry(Struct, frozen=True, gc=False):
    operation: str | None
    key: ResponseKey


class ReadyAnswers:
    """Which stored answer belongs to which request body and language, for the data served now."""

    def __init__(self, responses: ResponseCache, versions: Callable[[], Hashable]) -> None:
        self._responses = responses
        self._versions = versions
        self._entries: BoundedCache[_Entry] = BoundedCache(_MAX_ENTRIES, _MAX_BYTES)

    def find(self, body: bytes, language: Language) -> tuple[str | None, StoredResponse] | None:
        """Give the operation's name and its stored answer, None where there is none."""
        entry = self._entries.get((body, language))
        if entry is None or entry.key.snapshot != self._versions():
            return None
        stored = self._responses.find(entry.key)
        return None if stored is None else (entry.operation, stored)

    def remember(self, body: bytes, language: Language, operation: str | None, key: ResponseKey) -> None:
        """Remember that a body was answered from the store, under this key of the response cache."""
        self._entries.put((body, language), _Entry(operation, key), len(body) + 200)
