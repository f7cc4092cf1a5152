"""Heads of requests to `/graphql` that were parsed before: the next with the same bytes need not be."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from api.documents import BoundedCache
from api.exchange import Exchange, Scope
from api.negotiation import Encoding, encoding, is_json_body, media_type

MAX_HEAD: Final = 2_048  # bytes; larger heads are not remembered
_MAX_HEADS: Final = 4_000
_MAX_BYTES: Final = 12_000_000
_BYTES_BESIDE: Final = 2_000  # of each head, for what is made of it
_PLAIN: Final = (None, b"identity")
# Heads with these never come again, or concern more than one request.
_NOT_KEPT: Final = frozenset(
    {b"connection", b"expect", b"transfer-encoding", b"upgrade", b"x-request-id"},
)
# Heads with these mean what only the ordinary way knows.
_UNUSUAL: Final = frozenset({b"authorization", b"x-explain"})
_OF_CONNECTIONS: Final = frozenset({"client", "server", "state"})


class Head(Struct, eq=False, weakref=True):
    """All of a POST but its body: its bytes with the empty line behind them, and what they say to ASGI."""

    start: bytes
    content_length: int
    scope: Scope

    def scope_for(self, **connection: Any) -> Scope:
        """Give the scope of a request with this head on a connection."""
        scope = {**self.scope, **connection}
        scope["headers"] = scope["headers"].copy()
        return scope


class PlainHead(Head, eq=False):
    """The head of JSON by nobody; `exchange` serves one request after the other, as long as none waits."""

    exchange: Exchange
    coding: Encoding


class KnownHeads:
    """Which heads were seen, the most recently used; nobody else keeps them alive."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._heads: BoundedCache[Head] = BoundedCache(_MAX_HEADS, _MAX_BYTES)

    def find(self, head: bytes) -> Head | None:
        """Give what a head says, the bytes before the empty line; None for one that is not kept."""
        return self._heads.get(head)

    def learn(self, head: bytes, scope: Scope) -> None:
        """Keep a head that was parsed, if all requests with it are alike."""
        headers = scope["headers"]
        names = {name for name, _ in headers}
        if len(names) < len(headers) or not _NOT_KEPT.isdisjoint(names) or len(head) > MAX_HEAD:
            return
        exchange = Exchange(headers)
        size = exchange.content_length or b""
        if not size.isdigit() or len(size) > 9 or int(size) > self._max_body_bytes:
            return
        said = {name: value for name, value in scope.items() if name not in _OF_CONNECTIONS}
        known = Head(head + b"\r\n\r\n", int(size), {**said, "headers": headers.copy()})
        kind = media_type(exchange.accept)
        is_json = is_json_body(exchange.content_type) and exchange.content_encoding in _PLAIN
        if kind is not None and is_json and _UNUSUAL.isdisjoint(names):
            exchange.media_type = kind
            coding = encoding(exchange.accept_encoding) if exchange.accept_encoding else ""
            known = PlainHead(known.start, known.content_length, known.scope, exchange, coding)
        self._heads.put(head, known, 4 * len(head) + _BYTES_BESIDE)
