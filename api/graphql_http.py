"""GraphQL over HTTP, as a plain ASGI callable: no framework between the server and an operation.

Source: the GraphQL-over-HTTP specification's draft. POST takes JSON; GET runs queries only. An answer in
`application/graphql-response+json` has a status that says what happened; in `application/json` a well-formed
request is always answered 200, because older clients trust nothing else.

Most requests wait for nothing. They are run to their end where they arrive; only work that waits gets a timer
and a watch over its client.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from time import perf_counter
from typing import Any, Final

import orjson
import structlog
from msgspec import Struct

from api.answers import Answer, coded, head_of, named, not_modified
from api.cors import Cors
from api.eager import Resumed
from api.errors import INTERNAL_ERROR, RequestError, request_error_body
from api.exchange import ClientGoneError, Exchange, Receive, Scope, Send, read_body
from api.execution import InvalidDocumentError, Operation, Outcome
from api.lookup import Lookup
from api.metrics import Metrics
from api.negotiation import GRAPHQL_RESPONSE, is_json_body, media_type
from api.parameters import Parameters, from_body, from_query_string, read_object
from api.ready import ReadyAnswers
from api.ws_subscription import SubscriptionOperation
from domain.access import Viewer
from engine.responses import ResponseCache
from resolvers.context import Context, Language

log = structlog.get_logger(__name__)

_OK: Final = 200
_PRIVATE: Final = "private, no-cache"
_NOT_KEPT: Final = ((b"cache-control", b"no-store"),)
_MALFORMED: Final = frozenset(
    {
        "BATCHING_NOT_SUPPORTED",
        "BODY_TIMEOUT",
        "BODY_TOO_LARGE",
        "INVALID_JSON",
        "INVALID_PARAMETER",
        "METHOD_NOT_ALLOWED",
        "MISSING_QUERY",
        "MUTATION_OVER_GET",
        "NOT_ACCEPTABLE",
        "UNSUPPORTED_MEDIA_TYPE",
    }
)


class HttpLimits(Struct, frozen=True):
    """The bounds that concern the transport, and how much of success is logged (0 to 1).

    With `explains` a request with `X-Explain: 1` is told how it was answered.
    """

    max_body_bytes: int
    body_timeout_s: float
    log_sample: float
    explains: bool = False


class GraphQLOverHTTP:
    """The ASGI application at `/graphql`."""

    def __init__(
        self,
        lookup: Lookup,
        make_context: Callable[[Language, str, Viewer | None], Context],
        authenticate: Callable[[bytes], Awaitable[Viewer]],
        *,
        limits: HttpLimits,
        metrics: Metrics,
        cors: Cors,
        ready: ReadyAnswers | None = None,
        responses: ResponseCache | None = None,
    ) -> None:
        self.limits = limits
        self._log_sample = limits.log_sample
        self._lookup = lookup
        self._make_context = make_context
        self._authenticate = authenticate
        self.metrics = metrics
        self.cors = cors
        self.responses = responses
        self.ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope["headers"])
        work = self._guarded(exchange, self._dispatch(scope, receive, exchange))
        await self.finish(exchange, work, perf_counter(), send)

    async def finish(self, exchange: Exchange, work: Awaitable[Answer], started: float, send: Send) -> None:
        """Await the answer to a request, send it, count it and log it; `started` is on `perf_counter`."""
        self.metrics.started()
        answer: Answer | None = None
        try:
            answer = await work
            coding, body = await coded(answer, exchange.accept_encoding, self.responses)
            head = [named(exchange.request_id), *head_of(answer, exchange, self.cors, coding, len(body))]
            await send({"type": "http.response.start", "status": answer.status, "headers": head})
            await send({"type": "http.response.body", "body": body})
        except ClientGoneError:
            return
        finally:
            seconds, operation = perf_counter() - started, exchange.operation_name
            self.metrics.finished(operation, answer.outcome if answer else "gone", seconds)
            if answer is not None and self.is_logged(answer.outcome):
                self.log(exchange.request_id, operation, answer, seconds)

    def answer_at_once(self, exchange: Exchange, body: bytes) -> Answer | Resumed[Answer] | None:
        """Answer a POST from its JSON body; what turns out to wait is handed back started.

        None when the operation is not at hand or known to wait: then nothing has happened.
        """
        if self.ready is not None and (found := self.ready.find(body, exchange.language)) is not None:
            exchange.operation_name, stored = found
            return Answer(_OK, stored.body, "ok", (), (), stored)
        try:
            operation, variables = self._lookup.find_at_hand(read_object(body))
        except RequestError:
            return None
        if operation is None or not operation.is_prompt:
            return None
        exchange.operation_name = operation.label
        try:
            context = self._make_context(exchange.language, exchange.request_id, None)
            begun = operation.begin(variables, context)
            if isinstance(begun, Outcome):
                return self._answered(begun, exchange, body)
        except Exception as error:  # noqa: BLE001 worded, or logged and masked, where every error is
            begun = _raising(error)
        work = self._guarded(exchange, self._finished(begun, exchange, body))
        try:
            waiting = work.send(None)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
        return Resumed(work, waiting)

    # --- one request --------------------------------------------------------------------------------------

    async def _guarded(self, exchange: Exchange, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Turn what is raised into an answer."""
        try:
            return await work
        except RequestError as error:
            return self._refusal(error, exchange)
        except InvalidDocumentError as error:
            self.metrics.error(error.code)
            body = orjson.dumps(error.body(exchange.language))
            status = _status(HTTPStatus.BAD_REQUEST, exchange)
            return Answer(status, body, "refused", (error.code,), _NOT_KEPT)
        except ClientGoneError:
            raise
        except Exception as error:
            log.error("graphql.crashed", request_id=exchange.request_id, exc_info=error)
            return self._refusal(RequestError(INTERNAL_ERROR), exchange)

    async def _dispatch(self, scope: Scope, receive: Receive, exchange: Exchange) -> Answer:
        kind = media_type(exchange.accept)
        method = scope["method"]
        if method == "OPTIONS":
            return Answer(204, b"", "ok", (), self.cors.preflight(scope["headers"]))
        if kind is None:
            raise RequestError("NOT_ACCEPTABLE")
        exchange.media_type = kind
        if method == "POST":
            if not is_json_body(exchange.content_type) or exchange.content_encoding not in (
                None,
                b"identity",
            ):
                raise RequestError("UNSUPPORTED_MEDIA_TYPE")
            limits = self.limits
            size = exchange.content_length
            body = await read_body(receive, size, limits.max_body_bytes, limits.body_timeout_s)
            return await self._watched(self._post(body, exchange), receive)
        if method == "GET":
            return await self._watched(self._get(scope, exchange), receive)
        raise RequestError("METHOD_NOT_ALLOWED", allow="GET, POST")

    async def _watched(self, work: Coroutine[Any, Any, Answer], receive: Receive) -> Answer:
        """Run the work; where it waits, stop it when its client goes away. Raises: ClientGoneError."""
        try:
            waiting = work.send(None)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
        return await self.unless_gone(Resumed(work, waiting), receive)

    async def unless_gone(self, work: Resumed[Answer], receive: Receive) -> Answer:
        """Await work that waits; stop it when its client goes away. Raises: ClientGoneError."""
        task = asyncio.current_task()
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            if task is not None:
                task.cancel()

        watcher = asyncio.create_task(watch())
        try:
            return await work
        except asyncio.CancelledError:
            if gone and task is not None and task.uncancel() == 0:
                raise ClientGoneError from None
            raise
        finally:
            watcher.cancel()

    async def _post(self, body: bytes, exchange: Exchange) -> Answer:
        ready = self.ready
        if ready is not None and exchange.authorization is None and not self._explains(exchange):
            found = ready.find(body, exchange.language)
            if found is not None:
                exchange.operation_name, stored = found
                return Answer(_OK, stored.body, "ok", (), (), stored)
        parameters = from_body(body)
        operation = await self._operation(parameters)
        work = self._execute(operation, parameters, exchange, body)
        return await (work if operation.is_query else _to_the_end(work))

    async def _execute(
        self, operation: Operation, parameters: Parameters, exchange: Exchange, body: bytes
    ) -> Answer:
        return self._answered(await self._run(operation, parameters, exchange), exchange, body)

    async def _finished(self, work: Coroutine[Any, Any, Outcome], exchange: Exchange, body: bytes) -> Answer:
        return self._answered(await work, exchange, body)

    def _answered(self, outcome: Outcome, exchange: Exchange, body: bytes) -> Answer:
        stored = outcome.kept
        if stored is None or not outcome.is_found:
            return _completed(outcome, exchange)
        if self.ready is not None and exchange.authorization is None and not exchange.explain:
            self.ready.remember(body, exchange.language, exchange.operation_name, stored)
        return Answer(_OK, stored.body, "ok", (), (), stored)

    async def _get(self, scope: Scope, exchange: Exchange) -> Answer:
        parameters = from_query_string(scope["query_string"])
        operation = await self._operation(parameters)
        if not operation.is_query:
            raise RequestError("MUTATION_OVER_GET")
        outcome = await self._run(operation, parameters, exchange)
        if outcome.codes or parameters.digest is None or self._explains(exchange):
            return _completed(outcome, exchange, _NOT_KEPT)
        # The representation is the same for all content codings: a weak tag compares across them.
        tag = b"W/" + outcome.tag.encode()
        policy = _PRIVATE if exchange.authorization else outcome.cache_control or _PRIVATE
        headers = ((b"cache-control", policy.encode()), (b"etag", tag))
        if not_modified(exchange.if_none_match, tag):
            return Answer(304, b"", "ok", (), headers)
        return _completed(outcome, exchange, headers)

    async def _operation(self, parameters: Parameters) -> Operation:
        operation = await self._lookup.find(parameters)
        if isinstance(operation, SubscriptionOperation):
            raise RequestError("OPERATION_NOT_SUPPORTED")
        return operation

    async def _run(self, operation: Operation, parameters: Parameters, exchange: Exchange) -> Outcome:
        exchange.operation_name = operation.label
        given = exchange.authorization
        viewer = None if given is None else await self._authenticate(given)
        context = self._make_context(exchange.language, exchange.request_id, viewer)
        if self._explains(exchange):
            return await operation.execute(parameters.variables, context, explain=True)
        return await operation.execute(parameters.variables, context)

    def _explains(self, exchange: Exchange) -> bool:
        return exchange.explain and self.limits.explains

    def _refusal(self, error: RequestError, exchange: Exchange) -> Answer:
        self.metrics.error(error.code)
        body = orjson.dumps(request_error_body(error, exchange.language, exchange.request_id))
        headers: tuple[tuple[bytes, bytes], ...] = _NOT_KEPT
        if error.status is HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = b"POST" if error.code == "MUTATION_OVER_GET" else b"GET, POST, OPTIONS"
            headers += ((b"allow", allowed),)
        elif error.code in ("BODY_TOO_LARGE", "BODY_TIMEOUT"):
            headers += ((b"connection", b"close"),)
        elif error.status is HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            headers += ((b"accept-post", b"application/json"),)
        elif error.status is HTTPStatus.UNAUTHORIZED:
            headers += ((b"www-authenticate", b'Bearer realm="mintong", error="invalid_token"'),)
        failed = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        status = int(error.status)
        if error.code not in _MALFORMED and not failed and error.status is not HTTPStatus.UNAUTHORIZED:
            status = _status(error.status, exchange)
        return Answer(status, body, "failed" if failed else "refused", (error.code,), headers)

    def is_logged(self, outcome: str) -> bool:
        """Choose what is logged: a sample of what went well, and all the rest."""
        return outcome != "ok" or random.random() < self._log_sample  # noqa: S311 - sampling

    def log(self, request_id: str, operation: str | None, answer: Answer, seconds: float) -> None:
        """Log a request."""
        fields: dict[str, Any] = {
            "request_id": request_id,
            "operation": operation,
            "outcome": answer.outcome,
            "status": answer.status,
            "ms": round(seconds * 1000, 2),
            "bytes": len(answer.body),
        }
        if answer.codes:
            fields["codes"] = sorted(set(answer.codes))
        (log.warning if answer.outcome == "failed" else log.info)("graphql.request", **fields)


def _completed(outcome: Outcome, exchange: Exchange, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    if not outcome.codes:
        return Answer(_OK, outcome.body, "ok", (), headers, outcome.kept if outcome.is_found else None)
    label = "partial" if outcome.status is HTTPStatus.OK else "refused"
    return Answer(_status(outcome.status, exchange), outcome.body, label, outcome.codes, headers)


def _status(status: HTTPStatus, exchange: Exchange) -> int:
    return int(status) if exchange.media_type == GRAPHQL_RESPONSE else 200


async def _raising(error: Exception) -> Outcome:
    raise error


async def _to_the_end(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Await work that goes on when its client goes away, who could not know how far it came."""
    return await asyncio.shield(asyncio.ensure_future(work))
