"""Answers to plain POSTs straight from the connection; what `api.http_protocol` needs of the application."""

from __future__ import annotations

from copy import copy
from http import HTTPStatus
from itertools import count
from time import perf_counter
from typing import Any, Final

from msgspec import Struct, field

from api.answers import Answer, coding_at_hand, head_of, header_lines, message, named
from api.documents import BoundedCache
from api.eager import Resumed
from api.exchange import Exchange, Headers, Message, Receive, Scope, Send, new_request_id
from api.graphql_http import GraphQLOverHTTP
from api.metrics import Tally
from api.negotiation import Encoding, encoding, is_json_body, media_type
from api.ready import ReadyAnswer
from engine.responses import StoredResponse

_MAX_HEADS: Final = 4_000
_MAX_HEAD_BYTES: Final = 4_000_000
_MAX_REPLY_BYTES: Final = 16_000_000
_REPLY_BYTES: Final = 400  # counted for each reply beside its request
MAX_HEAD: Final = 2_048  # bytes; larger heads are not remembered
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


HeadKey = bytes | tuple[tuple[bytes, bytes], ...]
"""The bytes of a head, or its headers as ASGI gives them."""
RequestKey = bytes | tuple[int, bytes]
"""The bytes of a request, or the number of its head and its body."""
_NUMBERS = count()


class Head(Struct, eq=False):
    """The head of a plain request, parsed: everything but its body.

    `start` are its bytes with the empty line after them, where it came as bytes. `exchange` serves one
    request after the other, as long as none of them has to wait.
    """

    start: bytes
    exchange: Exchange
    content_length: int
    coding: Encoding
    number: int = field(default_factory=_NUMBERS.__next__)


class Reply(ReadyAnswer):
    """What is remembered of a request that was given a stored answer: all but the answer's body.

    `head` are its headers behind the request id, as lines for the socket or as ASGI takes them.
    """

    __slots__ = ("coding", "head", "tally")

    def __init__(
        self,
        stored: StoredResponse,
        operation: str | None,
        coding: Encoding,
        head: bytes | Headers,
        tally: Tally,
    ) -> None:
        super().__init__(stored, operation)
        self.coding = coding
        self.head: Any = head
        self.tally = tally


class DirectAnswers:
    """Answers requests whose heads were seen before."""

    def __init__(self, graphql: GraphQLOverHTTP) -> None:
        self._graphql = graphql
        self._heads: BoundedCache[Head] = BoundedCache(_MAX_HEADS, _MAX_HEAD_BYTES)
        self._replies: dict[RequestKey, Reply] = {}
        """By all that a request says, the oldest first."""
        self._reply_to = self._replies.get
        self._reply_bytes = 0

    def find(self, head: HeadKey) -> Head | None:
        """Give what a head says, None for one that was not seen or is not plain."""
        return self._heads.get(head)

    def learn(self, head: HeadKey, headers: Headers) -> None:
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
            total = sum(len(name) + len(value) + 4 for name, value in headers)
            if total <= MAX_HEAD:
                coding = encoding(exchange.accept_encoding) if exchange.accept_encoding else ""
                start = head + b"\r\n\r\n" if isinstance(head, bytes) else b""
                self._heads.put(head, Head(start, exchange, int(size), coding), 2 * total)

    def answer(self, head: Head, body: bytes) -> Answer | Resumed[Answer] | None:
        """Answer a request; what has to wait is handed back started, None is for the ordinary way."""
        exchange = head.exchange
        exchange.request_id = new_request_id()
        exchange.operation_name = None
        return self._graphql.answer_at_once(exchange, body)

    def reply(self, request: bytes, started: float, first: bytes) -> bytes | None:
        """Write the stored answer to a request whose very bytes were given it before, and count the request.

        None where there is none. `started` is on `perf_counter`, `first` the server's own header lines.
        """
        reply = self._reply_to(request)
        found = None if reply is None else self._given(reply, started)
        if reply is None or found is None:
            return None
        request_id, body = found
        return message(200, request_id, first, reply.head, body)

    def _given(self, reply: Reply, started: float) -> tuple[str, bytes] | None:
        """Give the id of a request and the body of its stored answer; count the request."""
        graphql = self._graphql
        ready = graphql.ready
        if ready is None or (stored := ready.given(reply)) is None:
            return None
        body = stored.codings.get(reply.coding) if reply.coding else stored.body
        if body is None:
            return None
        request_id, seconds = new_request_id(), perf_counter() - started
        reply.tally.add(seconds)
        if graphql.is_logged("ok"):
            graphql.log(request_id, reply.operation, Answer(200, stored.body, "ok"), seconds)
        return request_id, body

    def write(self, head: Head, answer: Answer, request: bytes, started: float, first: bytes) -> bytes | None:
        """Give the bytes for the socket and count the request; None where a large body must be compressed.

        `started` is on `perf_counter`, `first` the server's own header lines.
        """
        found = self._counted(head, answer, started)
        if found is None:
            return None
        coding, body = found
        exchange = head.exchange
        lines = header_lines(answer, exchange, self._graphql.cors, coding, len(body))
        if answer.stored is not None and answer.status == HTTPStatus.OK:
            self._remember(request, self._reply(answer.stored, exchange, coding, lines))
        return message(answer.status, exchange.request_id, first, lines, body)

    def _reply(
        self, stored: StoredResponse, exchange: Exchange, coding: Encoding, head: bytes | Headers
    ) -> Reply:
        operation = exchange.operation_name
        return Reply(stored, operation, coding, head, self._graphql.metrics.tally(operation, "ok"))

    def _remember(self, request: RequestKey, reply: Reply) -> None:
        replies = self._replies
        if request not in replies:
            self._reply_bytes += _size(request)
        replies[request] = reply
        while self._reply_bytes > _MAX_REPLY_BYTES:
            oldest = next(iter(replies))
            del replies[oldest]
            self._reply_bytes -= _size(oldest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be the ASGI application at `/graphql`: plain requests here, all others in the ordinary way."""
        head = None
        if scope["method"] == "POST":
            key = tuple(scope["headers"])
            head = self.find(key)
            if head is None:
                self.learn(key, scope["headers"])
        if head is None:
            await self._graphql(scope, receive, send)
            return
        started = perf_counter()
        message = await receive()
        body = message.get("body", b"")
        request = (head.number, body)
        reply = self._reply_to(request)
        if reply is not None and (given := self._given(reply, started)) is not None:
            status, (request_id, body) = 200, given
            fields = [named(request_id), *reply.head]
        else:
            answer = None
            if len(body) == head.content_length and message["type"] == "http.request":
                answer = self.answer(head, body)
            if answer is None:
                await self._graphql(scope, _again(message, receive), send)
                return
            if not isinstance(answer, Answer) or (found := self._counted(head, answer, started)) is None:
                await self.finish(detached(head), answer, started, scope, receive, send)
                return
            status, (coding, body) = answer.status, found
            fields = self._fields(head, answer, coding, len(body), request)
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def _fields(
        self, head: Head, answer: Answer, coding: Encoding, size: int, request: RequestKey
    ) -> Headers:
        """Make the headers of an answer, and remember them where it is a stored one."""
        exchange = head.exchange
        fields = head_of(answer, exchange, self._graphql.cors, coding, size)
        if answer.stored is not None and answer.status == HTTPStatus.OK:
            self._remember(request, self._reply(answer.stored, exchange, coding, fields))
        return [named(exchange.request_id), *fields]

    def _counted(self, head: Head, answer: Answer, started: float) -> tuple[Encoding, bytes] | None:
        graphql, exchange = self._graphql, head.exchange
        found = coding_at_hand(answer, head.coding, graphql.responses) if head.coding else ("", answer.body)
        if found is not None:
            seconds, operation = perf_counter() - started, exchange.operation_name
            graphql.metrics.tally(operation, answer.outcome).add(seconds)
            if graphql.is_logged(answer.outcome):
                graphql.log(exchange.request_id, operation, answer, seconds)
        return found

    async def finish(
        self,
        exchange: Exchange,
        answer: Answer | Resumed[Answer],
        started: float,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Be the ASGI application of a request that was begun here."""
        graphql = self._graphql
        work = _given(answer) if isinstance(answer, Answer) else graphql.unless_gone(answer, receive)
        await graphql.finish(exchange, work, started, send)


def _size(request: RequestKey) -> int:
    return _REPLY_BYTES + len(request if isinstance(request, bytes) else request[1])


def detached(head: Head) -> Exchange:
    """Give a request that waits the exchange for itself; the next with its head get another."""
    exchange = head.exchange
    head.exchange = copy(exchange)
    return exchange


def _again(message: Message, receive: Receive) -> Receive:
    """Give a `receive` that gives a message once more, and then what comes after it."""
    waiting = [message]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


async def _given(answer: Answer) -> Answer:
    return answer
