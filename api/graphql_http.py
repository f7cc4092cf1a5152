"""GraphQL over HTTP, as a plain ASGI callable: no framework between the server and an operation.

Source: the GraphQL-over-HTTP specification's draft. POST takes JSON; GET runs queries only. An answer in
`application/graphql-response+json` has a status that says what happened; in `application/json` a well-formed
request is always answered 200, because older clients trust nothing else.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from msgspec import Struct

from api.compiled import CompiledOperation
from api.compression import MIN_BYTES, compress
from api.cors import Cors
from api.documents import AutomaticDocuments, BoundedCache, TrustedDocuments, document_hash
from api.errors import INTERNAL_ERROR, RequestError, request_error_body
from api.exchange import (
    SECURITY_HEADERS,
    ClientGoneError,
    Exchange,
    Headers,
    Receive,
    Scope,
    Send,
    read_body,
)
from api.execution import InvalidDocumentError, Operation, Outcome, Preparer
from api.metrics import Metrics
from api.negotiation import GRAPHQL_RESPONSE, JSON, encoding, is_json_body, media_type
from api.parameters import Parameters, from_body, from_query_string
from domain.access import Viewer
from engine.responses import etag_of
from resolvers.context import Context, Language

log = structlog.get_logger(__name__)

_MAX_PREPARED: Final = 1_000
_MAX_PREPARED_CHARS: Final = 2_000_000
_CONTENT_TYPES: Final = {kind: f"{kind}; charset=utf-8".encode() for kind in (GRAPHQL_RESPONSE, JSON)}
_VARY: Final = (b"vary", b"accept, accept-encoding, accept-language, origin")
_PRIVATE: Final = "private, no-cache"
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
    trusted_only: bool
    log_sample: float
    explains: bool = False


class _Answer(Struct, frozen=True):
    status: HTTPStatus
    body: bytes
    outcome: str
    codes: tuple[str, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()


class GraphQLOverHTTP:
    """The ASGI application at `/graphql`."""

    def __init__(
        self,
        preparer: Preparer,
        trusted: TrustedDocuments,
        automatic: Callable[[], AutomaticDocuments],
        make_context: Callable[[Language, str, Viewer | None], Context],
        authenticate: Callable[[bytes], Awaitable[Viewer]],
        *,
        limits: HttpLimits,
        metrics: Metrics,
        cors: Cors,
    ) -> None:
        self._preparer = preparer
        self._trusted = trusted
        self._automatic = automatic
        self._make_context = make_context
        self._authenticate = authenticate
        self._limits = limits
        self._metrics = metrics
        self._cors = cors
        self._trusted_operations: dict[tuple[str, str | None], Operation] = {}
        self._prepared: BoundedCache[Operation] = BoundedCache(_MAX_PREPARED, _MAX_PREPARED_CHARS)

    def prepare_trusted(self) -> frozenset[str]:
        """Prepare every registered document and give the operations' names.

        A document that the schema has outgrown is logged and left out.
        """
        for digest, text in self._trusted.items():
            try:
                operation = self._preparer.prepare(text, None)
            except (RequestError, InvalidDocumentError) as error:
                log.error("documents.trusted_invalid", digest=digest, code=error.code)
                continue
            if isinstance(operation, CompiledOperation):
                operation.trust()
            self._trusted_operations[digest, None] = operation
            if operation.name:
                self._trusted_operations[digest, operation.name] = operation
        return frozenset(name for _, name in self._trusted_operations if name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        exchange = Exchange(scope["headers"])
        self._metrics.started()
        answer: _Answer | None = None
        try:
            answer = await self._answer(scope, receive, exchange)
            await self._send(send, exchange, answer)
        except ClientGoneError:
            return
        finally:
            seconds = time.perf_counter() - started
            outcome = answer.outcome if answer else "gone"
            self._metrics.finished(exchange.operation_name, outcome, seconds)
            if answer is not None:
                self._log(exchange, answer, seconds)

    async def _answer(self, scope: Scope, receive: Receive, exchange: Exchange) -> _Answer:
        try:
            kind = media_type(exchange.accept)
            method = scope["method"]
            if method == "OPTIONS":
                return _Answer(HTTPStatus.NO_CONTENT, b"", "ok", (), self._cors.preflight(scope["headers"]))
            if kind is None:
                raise RequestError("NOT_ACCEPTABLE")
            exchange.media_type = kind
            if method == "POST":
                return await self._post(receive, exchange)
            if method == "GET":
                return await self._get(scope, exchange)
            raise RequestError("METHOD_NOT_ALLOWED", allow="GET, POST")
        except RequestError as error:
            return self._refusal(error, exchange)
        except InvalidDocumentError as error:
            self._metrics.error(error.code)
            body = orjson.dumps(error.body(exchange.language))
            return _Answer(self._status(HTTPStatus.BAD_REQUEST, exchange), body, "refused", (error.code,))
        except ClientGoneError:
            raise
        except Exception as error:
            log.error("graphql.crashed", request_id=exchange.request_id, exc_info=error)
            return self._refusal(RequestError(INTERNAL_ERROR), exchange)

    def _refusal(self, error: RequestError, exchange: Exchange) -> _Answer:
        self._metrics.error(error.code)
        body = orjson.dumps(request_error_body(error, exchange.language, exchange.request_id))
        headers: list[tuple[bytes, bytes]] = []
        if error.status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(
                (b"allow", b"POST" if error.code == "MUTATION_OVER_GET" else b"GET, POST, OPTIONS")
            )
        elif error.code in ("BODY_TOO_LARGE", "BODY_TIMEOUT"):
            headers.append((b"connection", b"close"))
        elif error.status is HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            headers.append((b"accept-post", b"application/json"))
        failed = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        status = error.status
        if error.code not in _MALFORMED and not failed:
            status = self._status(status, exchange)
        return _Answer(status, body, "failed" if failed else "refused", (error.code,), tuple(headers))

    @staticmethod
    def _status(status: HTTPStatus, exchange: Exchange) -> HTTPStatus:
        return status if exchange.media_type == GRAPHQL_RESPONSE else HTTPStatus.OK

    # --- the two methods ---------------------------------------------------------------------------------

    async def _post(self, receive: Receive, exchange: Exchange) -> _Answer:
        if not is_json_body(exchange.content_type) or exchange.content_encoding not in (None, b"identity"):
            raise RequestError("UNSUPPORTED_MEDIA_TYPE")
        limits = self._limits
        body = await read_body(receive, exchange.content_length, limits.max_body_bytes, limits.body_timeout_s)
        parameters = from_body(body)
        operation = await self._operation(parameters, exchange)
        outcome = await self._run(operation, parameters, exchange)
        return self._completed(outcome, exchange)

    async def _get(self, scope: Scope, exchange: Exchange) -> _Answer:
        parameters = from_query_string(scope["query_string"])
        operation = await self._operation(parameters, exchange)
        if not operation.is_query:
            raise RequestError("MUTATION_OVER_GET")
        outcome = await self._run(operation, parameters, exchange)
        if outcome.codes or parameters.digest is None or self._explains(exchange):
            headers: tuple[tuple[bytes, bytes], ...] = ((b"cache-control", b"no-store"),)
            return self._completed(outcome, exchange, headers)
        # The representation is the same for all content codings: a weak tag compares across them.
        tag = b"W/" + (outcome.tag or etag_of(outcome.body)).encode()
        policy = _PRIVATE if exchange.authorization else outcome.cache_control or _PRIVATE
        headers = ((b"cache-control", policy.encode()), (b"etag", tag))
        if _matches(exchange.if_none_match, tag):
            return _Answer(HTTPStatus.NOT_MODIFIED, b"", "ok", (), headers)
        return self._completed(outcome, exchange, headers)

    async def _operation(self, parameters: Parameters, exchange: Exchange) -> Operation:
        query, digest, name = parameters.query, parameters.digest, parameters.operation_name
        if digest is not None and (operation := self._trusted_operations.get((digest, name))):
            exchange.operation_name = operation.name
            return operation
        if self._limits.trusted_only:
            return self._trusted_by_text(parameters, exchange)
        if query is None:
            if digest is None:
                raise RequestError("MISSING_QUERY")
            return await self._named(parameters, digest)
        if digest is not None and document_hash(query) != digest:
            raise RequestError("PERSISTED_QUERY_HASH_MISMATCH")
        operation = self._prepare(query, name)
        if digest is not None:
            await self._automatic().put(digest, query)
        return operation

    def _trusted_by_text(self, parameters: Parameters, exchange: Exchange) -> Operation:
        if parameters.query is None:
            raise RequestError("DOCUMENT_NOT_TRUSTED")
        digest = document_hash(parameters.query)
        operation = self._trusted_operations.get((digest, parameters.operation_name))
        if operation is None:
            raise RequestError("DOCUMENT_NOT_TRUSTED")
        exchange.operation_name = operation.name
        return operation

    async def _named(self, parameters: Parameters, digest: str) -> Operation:
        text = self._trusted.get(digest) or await self._automatic().get(digest)
        if text is None:
            raise RequestError(
                "PERSISTED_QUERY_NOT_FOUND" if parameters.is_automatic else "DOCUMENT_NOT_FOUND"
            )
        return self._prepare(text, parameters.operation_name)

    def _prepare(self, text: str, name: str | None) -> Operation:
        key = (text, name)
        operation = self._prepared.get(key)
        if operation is None:
            operation = self._preparer.prepare(text, name)
            self._prepared.put(key, operation, len(text))
        return operation

    async def _run(self, operation: Operation, parameters: Parameters, exchange: Exchange) -> Outcome:
        viewer = await self._authenticate(exchange.authorization) if exchange.authorization else None
        context = self._make_context(exchange.language, exchange.request_id, viewer)
        if self._explains(exchange):
            return await operation.execute(parameters.variables, context, explain=True)
        return await operation.execute(parameters.variables, context)

    def _explains(self, exchange: Exchange) -> bool:
        return exchange.explain and self._limits.explains

    def _completed(
        self, outcome: Outcome, exchange: Exchange, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> _Answer:
        if not outcome.codes:
            return _Answer(outcome.status, outcome.body, "ok", (), headers)
        label = "partial" if outcome.status is HTTPStatus.OK else "refused"
        return _Answer(self._status(outcome.status, exchange), outcome.body, label, outcome.codes, headers)

    # --- out ----------------------------------------------------------------------------------------------

    async def _send(self, send: Send, exchange: Exchange, answer: _Answer) -> None:
        body = answer.body
        headers: Headers = [(b"x-request-id", exchange.request_id.encode("ascii")), _VARY, *SECURITY_HEADERS]
        headers += answer.headers
        if exchange.origin is not None:
            headers += self._cors.headers(exchange.origin)
        if body:
            headers.append((b"content-type", _CONTENT_TYPES[exchange.media_type]))
            if len(body) >= MIN_BYTES and (coding := encoding(exchange.accept_encoding)):
                body = await compress(body, coding)
                headers.append((b"content-encoding", coding.encode()))
        if answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _log(self, exchange: Exchange, answer: _Answer, seconds: float) -> None:
        if answer.outcome == "ok" and random.random() >= self._limits.log_sample:  # noqa: S311 - sampling
            return
        fields: dict[str, Any] = {
            "request_id": exchange.request_id,
            "operation": exchange.operation_name,
            "outcome": answer.outcome,
            "status": int(answer.status),
            "ms": round(seconds * 1000, 2),
            "bytes": len(answer.body),
        }
        if answer.codes:
            fields["codes"] = sorted(set(answer.codes))
        (log.warning if answer.outcome == "failed" else log.info)("graphql.request", **fields)


def _matches(if_none_match: str | None, tag: bytes) -> bool:
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    wanted = tag.decode().removeprefix("W/")
    return any(part.strip().removeprefix("W/") == wanted for part in if_none_match.split(","))
