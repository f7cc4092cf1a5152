"""Answers to plain POSTs straight from the connection; what `api.http_protocol` needs of the application."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from msgspec import Struct

from api.answers import Answer, coding_at_hand, head_bytes
from api.documents import BoundedCache
from api.eager import Resumed
from api.exchange import Exchange, Headers, Receive, Scope, Send, new_request_id
from api.graphql_http import GraphQLOverHTTP
from api.negotiation import is_json_body, media_type

_MAX_HEADS: Final = 4_000
_MAX_HEAD_BYTES: Final = 4_000_000
_PLAIN: Final = (None, b"identity")
# Heads with these are never the same again, or mean what only the ordinary way knows.
_UNUSUAL: Final = frozenset(
    {
        b"authorization",
        b"connection",
        b"expect",
        b"transfer-encoding",
        b"upgrade",
        b"x-explain",
        b"x-request-id",
    }
)


class Head(Struct, frozen=True):
    """The head of a plain request, parsed: everything but its body."""

    exchange: Exchange
    content_length: int


class DirectAnswers:
    """Answers requests whose heads were seen before."""

    def __init__(self, graphql: GraphQLOverHTTP) -> None:
        self._graphql = graphql
        self._heads: BoundedCache[Head] = BoundedCache(_MAX_HEADS, _MAX_HEAD_BYTES)

    def find(self, head: bytes) -> Head | None:
        """Give what a head says, None for one that was not seen or is not plain."""
        return self._heads.get(head)

    def learn(self, head: bytes, headers: Headers) -> None:
        """Remember a head that was parsed, if it is plain: all its requests will be alike."""
        names = {name for name, _ in headers}
        if len(names) < len(headers) or not _UNUSUAL.isdisjoint(names):
            return
        exchange = Exchange(headers)
        kind, size = media_type(exchange.accept), exchange.content_length or b""
        plain = is_json_body(exchange.content_type) and exchange.content_encoding in _PLAIN
        if kind is None or not plain or not size.isdigit() or len(size) > 9:
            return
        if int(size) <= self._graphql.limits.max_body_bytes:
            exchange.media_type = kind
            self._heads.put(head, Head(exchange, int(size)), len(head))

    def forget(self, head: bytes) -> None:
        """Forget a head: what it says is in use by a request that waits."""
        self._heads.pop(head)

    def answer(self, head: Head, body: bytes) -> Answer | Resumed[Answer] | None:
        """Answer a request; what has to wait is handed back started, None is for the ordinary way."""
        exchange = head.exchange
        exchange.request_id = new_request_id()
        exchange.operation_name = None
        return self._graphql.answer_at_once(exchange, body)

    def write(self, head: Head, answer: Answer, started: float, first: bytes) -> bytes | None:
        """Give the bytes for the socket and count the request; None where a large body must be compressed.

        `started` is on `perf_counter`, `first` the server's own header lines.
        """
        graphql, exchange = self._graphql, head.exchange
        found = coding_at_hand(answer, exchange.accept_encoding, graphql.responses)
        if found is None:
            return None
        coding, body = found
        seconds = perf_counter() - started
        graphql.metrics.answered(exchange.operation_name, answer.outcome, seconds)
        graphql.log(exchange, answer, seconds)
        return head_bytes(answer, exchange, graphql.cors, coding, len(body), first) + body

    async def finish(
        self,
        head: Head,
        answer: Answer | Resumed[Answer],
        started: float,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Be the ASGI application of a request that was begun here."""
        graphql = self._graphql
        work = _given(answer) if isinstance(answer, Answer) else graphql.unless_gone(answer, receive)
        await graphql.finish(head.exchange, work, started, send)


async def _given(answer: Answer) -> Answer:
    return answer
