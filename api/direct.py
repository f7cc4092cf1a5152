"""Answers to plain POSTs by their very bytes: straight from the connection, or through ASGI in one piece."""

from __future__ import annotations

from copy import copy
from functools import partial
from http import HTTPStatus
from time import perf_counter
from typing import Final

from api.answers import Answer, coding_at_hand, header_lines, message
from api.eager import Resumed
from api.exchange import ASGIApplication, Exchange, Receive, Scope, Send, new_request_id
from api.graphql_http import GraphQLOverHTTP
from api.heads import Head, KnownHeads, PlainHead
from api.metrics import Tally
from api.negotiation import Encoding
from api.ready import ReadyAnswer
from api.turns import Turns
from engine.responses import StoredResponse

WRITTEN: Final = "mintong.written"
"""The ASGI extension of a server that takes answers as they go out: messages of this type have their `bytes`.

In a scope it is the request as it came: its head, all its bytes, and the lines of the server's own headers.
"""
_MAX_REPLY_BYTES: Final = 16_000_000
_REPLY_BYTES: Final = 400  # counted for each reply beside its request


class Reply(ReadyAnswer):
    """What is remembered of a request that was given a stored answer: all but the answer's body.

    `head` are its header lines behind the request id.
    """

    __slots__ = ("coding", "head", "tally")

    def __init__(
        self, stored: StoredResponse, operation: str | None, coding: Encoding, head: bytes, tally: Tally
    ) -> None:
        super().__init__(stored, operation)
        self.coding = coding
        self.head = head
        self.tally = tally


class DirectAnswers:
    """Answers requests whose heads were seen before."""

    def __init__(self, graphql: GraphQLOverHTTP) -> None:
        self._graphql = graphql
        self.heads = KnownHeads(graphql.limits.max_body_bytes)
        self.turns = Turns()
        self._replies: dict[bytes, Reply] = {}
        """By all the bytes of a request, the oldest first."""
        self._reply_to = self._replies.get
        self._reply_bytes = 0

    def reply(self, request: bytes, started: float, first: bytes) -> bytes | None:
        """Write the stored answer to a request whose very bytes were given it before, and count the request.

        None where there is none. `started` is on `perf_counter`, `first` the server's own header lines.
        """
        reply, graphql = self._reply_to(request), self._graphql
        ready = graphql.ready
        if reply is None or ready is None or (stored := ready.given(reply)) is None:
            return None
        body = stored.codings.get(reply.coding) if reply.coding else stored.body
        if body is None:
            return None
        request_id, seconds = new_request_id(), perf_counter() - started
        reply.tally.add(seconds)
        if graphql.is_logged("ok"):
            graphql.log(request_id, reply.operation, Answer(200, stored.body, "ok"), seconds)
        return message(200, request_id, first, reply.head, body)

    def answer(
        self, head: Head, request: bytes, started: float, first: bytes
    ) -> bytes | ASGIApplication | None:
        """Run a request, write its answer and count it; the times and lines are those of `reply`.

        What has to wait is given as an ASGI application, begun already; None is for the ordinary way, and
        nothing has happened then.
        """
        if not isinstance(head, PlainHead):
            return None
        exchange = head.exchange
        exchange.request_id = new_request_id()
        exchange.operation_name = None
        answer = self._graphql.answer_at_once(exchange, request[len(head.start) :])
        if answer is None:
            return None
        if answer.__class__ is Answer and (written := self._write(head, answer, request, started, first)):
            return written
        # The next request with its head gets another exchange.
        head.exchange = copy(exchange)
        return partial(self._finish, exchange, answer, started)

    def _write(
        self, head: PlainHead, answer: Answer, request: bytes, started: float, first: bytes
    ) -> bytes | None:
        """Write an answer, and remember a stored one; None where a large body must be compressed."""
        graphql, exchange = self._graphql, head.exchange
        found = coding_at_hand(answer, head.coding, graphql.responses) if head.coding else ("", answer.body)
        if found is None:
            return None
        coding, body = found
        seconds, operation = perf_counter() - started, exchange.operation_name
        tally = graphql.metrics.tally(operation, answer.outcome)
        tally.add(seconds)
        if graphql.is_logged(answer.outcome):
            graphql.log(exchange.request_id, operation, answer, seconds)
        lines = header_lines(answer, exchange, graphql.cors, coding, len(body))
        if answer.stored is not None and answer.status == HTTPStatus.OK:
            self._remember(request, Reply(answer.stored, operation, coding, lines, tally))
        return message(answer.status, exchange.request_id, first, lines, body)

    def _remember(self, request: bytes, reply: Reply) -> None:
        replies = self._replies
        if request not in replies:
            self._reply_bytes += len(request) + _REPLY_BYTES
        replies[request] = reply
        while self._reply_bytes > _MAX_REPLY_BYTES:
            oldest = next(iter(replies))
            del replies[oldest]
            self._reply_bytes -= len(oldest) + _REPLY_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be the ASGI application at `/graphql`: plain requests here, all others in the ordinary way."""
        answer: bytes | ASGIApplication | None = None
        if (received := scope.get("extensions", {}).get(WRITTEN)) is not None:
            head, request, first = received
            started = perf_counter()
            answer = self.reply(request, started, first) or self.answer(head, request, started, first)
        if isinstance(answer, bytes):
            await send({"type": WRITTEN, "bytes": answer})
        else:
            await (answer or self._graphql)(scope, receive, send)

    async def _finish(
        self,
        exchange: Exchange,
        answer: Answer | Resumed[Answer],
        started: float,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Be the ASGI application of a request that was begun."""
        graphql = self._graphql
        work = _given(answer) if isinstance(answer, Answer) else graphql.unless_gone(answer, receive)
        await graphql.finish(exchange, work, started, send)


async def _given(answer: Answer) -> Answer:
    return answer
