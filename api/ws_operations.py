"""The operations that one WebSocket connection runs at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from api.errors import INTERNAL_ERROR, RequestError, request_error_body
from api.exchange import ClientGoneError
from api.execution import InvalidDocumentError, Outcome
from api.parameters import Parameters, from_values
from api.ws_closing import CloseCode
from api.ws_subscription import Selection, SubscriptionOperation, end_events
from notifications.live import Closed, ListenerClosedError
from resolvers.context import Context
from resolvers.live import SharedEvent

if TYPE_CHECKING:
    from api.websocket import GraphQLOverWebSocket
    from api.ws_connection import Connection

log = structlog.get_logger(__name__)

_MALFORMED: Final = frozenset({"INVALID_PARAMETER", "MISSING_QUERY"})


class Running:
    """An operation of one connection, and what its log line will say."""

    __slots__ = ("codes", "id", "is_mutation", "name", "outcome", "request_id", "started", "task")

    def __init__(self, id: str, request_id: str) -> None:
        self.id = id
        self.request_id = request_id
        self.task: asyncio.Task[None] | None = None
        self.is_mutation = False
        self.started = perf_counter()
        self.name: str | None = None
        self.outcome = "gone"
        self.codes: tuple[str, ...] = ()


class Operations:
    """The running operations of a connection by their ids."""

    __slots__ = ("_count", "_link", "_running", "_server")

    def __init__(self, server: GraphQLOverWebSocket, link: Connection) -> None:
        self._server = server
        self._link = link
        self._running: dict[str, Running] = {}
        self._count = 0

    def __contains__(self, id: str) -> bool:
        return id in self._running

    def __len__(self) -> int:
        return len(self._running)

    async def start(self, id: str, payload: dict[str, Any]) -> None:
        """Run what a client subscribes to, or refuse it."""
        limit = self._server.limits.max_operations
        self._count += 1
        running = Running(id, f"{self._link.request_id}.{self._count:x}")
        try:
            parameters = from_values(payload)
            if len(self._running) >= limit:
                raise RequestError("TOO_MANY_OPERATIONS", limit=limit)
        except RequestError as error:
            if error.code in _MALFORMED:
                self._link.end(CloseCode.BAD_REQUEST, f"Invalid message: {error.code}")
            else:
                await self._refuse(running, error)
            return
        self._running[id] = running
        running.task = asyncio.create_task(self._operate(running, parameters))

    def complete(self, id: str) -> None:
        """End an operation that the client wants no more of; one that is unknown ended in the meantime."""
        running = self._running.pop(id, None)
        if running is None or running.task is None:
            return
        if running.is_mutation:
            self._server.keep(running.task)
        else:
            running.task.cancel()

    def cancel(self) -> None:
        """End all but mutations that have begun."""
        for running in self._running.values():
            if running.task is not None and not running.is_mutation:
                running.task.cancel()

    async def leave(self) -> None:
        """End all and wait for it: a mutation that has begun is finished, though nobody hears of it."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        self.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._server.limits.leave_s)

    async def _operate(self, running: Running, parameters: Parameters) -> None:
        server = self._server
        server.metrics.started()
        try:
            operation = await server.lookup.find(parameters)
            running.name = operation.label
            context = self._context(running)
            if isinstance(operation, SubscriptionOperation):
                await self._stream(running, operation, parameters.variables, context)
            else:
                running.is_mutation = not operation.is_query
                await self._answer(running, await operation.execute(parameters.variables, context))
        except (RequestError, InvalidDocumentError) as error:
            await self._refuse(running, error)
        except ListenerClosedError as error:
            self._interrupted(error.reason)
        except ClientGoneError:
            return
        except Exception as error:
            log.error("live.crashed", request_id=running.request_id, exc_info=error)
            await self._refuse(running, RequestError(INTERNAL_ERROR))
        finally:
            self._forget(running)
            self._finished(running)

    async def _answer(self, running: Running, outcome: Outcome) -> None:
        running.codes = outcome.codes
        if outcome.status is not HTTPStatus.OK:
            running.outcome = "refused"
            await self._errors(running, orjson.loads(outcome.body)["errors"])
            return
        running.outcome = "partial" if outcome.codes else "ok"
        if self._forget(running):
            id = orjson.dumps(running.id).decode()
            await self._link.write(f'{{"id":{id},"type":"next","payload":{outcome.body.decode()}}}')
            await self._link.write(f'{{"id":{id},"type":"complete"}}')

    async def _stream(
        self,
        running: Running,
        operation: SubscriptionOperation,
        variables: Mapping[str, Any],
        context: Context,
    ) -> None:
        events = await operation.open(variables, context)
        if isinstance(events, Outcome):
            running.codes = events.codes
            running.outcome = "refused"
            await self._errors(running, orjson.loads(events.body)["errors"])
            return
        running.outcome = "ok"
        self._finished(running)
        server = self._server
        selection = Selection.of(operation, variables, self._link.language)
        start = f'{{"id":{orjson.dumps(running.id).decode()},"type":"next","payload":'
        with server.metrics.live_subscription():
            try:
                async for event in events:
                    payload = self._payload(event, selection, running)
                    text = payload if isinstance(payload, str) else await payload
                    await self._link.write(f"{start}{text}}}")
                    server.metrics.live_delivered()
            except (ClientGoneError, ListenerClosedError, RequestError):
                raise
            except Exception as error:  # noqa: BLE001 - worded or masked, and logged, by the formatter
                failed = operation.failure(error, context)
                await self._errors(running, orjson.loads(failed.body)["errors"])
            finally:
                await end_events(events)
        if self._forget(running):
            await self._link.write(orjson.dumps({"id": running.id, "type": "complete"}).decode())

    def _payload(self, event: object, selection: Selection, running: Running) -> str | Awaitable[str]:
        if isinstance(event, SharedEvent):
            return self._server.payloads.of(event, selection, self._nobody(running))
        return selection.operation.payload(event, selection.variables, self._context(running))

    def _context(self, running: Running) -> Context:
        return self._server.make_context(self._link.language, running.request_id, self._link.viewer)

    def _nobody(self, running: Running) -> Callable[[], Context]:
        return lambda: self._server.make_context(self._link.language, running.request_id, None)

    def _interrupted(self, reason: Closed) -> None:
        if reason is Closed.SLOW:
            self._link.end(CloseCode.SLOW_READER, "Too slow: events were not kept")
        elif reason is Closed.STOPPED:
            self._link.end(CloseCode.RESTART, "Restarting")
        else:
            self._link.end(CloseCode.TRY_LATER, "Events may be missing; resume from the cursor")

    # --- out ----------------------------------------------------------------------------------------------

    async def _refuse(self, running: Running, error: RequestError | InvalidDocumentError) -> None:
        self._server.metrics.error(error.code)
        running.codes = (error.code,)
        running.outcome = "refused"
        if isinstance(error, InvalidDocumentError):
            body = error.body(self._link.language)
        else:
            body = request_error_body(error, self._link.language, running.request_id)
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                running.outcome = "failed"
        await self._errors(running, body["errors"])

    async def _errors(self, running: Running, errors: list[Any]) -> None:
        # A refused operation that never ran is not among those of the connection.
        if running.task is None or self._forget(running):
            frame = {"id": running.id, "type": "error", "payload": errors}
            try:
                await self._link.write(orjson.dumps(frame).decode())
            except ClientGoneError:
                return

    def _forget(self, running: Running) -> bool:
        """Free the operation's id before its last message; tell whether the client still listens."""
        if self._running.get(running.id) is not running:
            return False
        del self._running[running.id]
        return True

    def _finished(self, running: Running) -> None:
        if not running.started:
            return
        seconds = perf_counter() - running.started
        running.started = 0.0
        server = self._server
        server.metrics.finished(running.name, running.outcome, seconds)
        if running.outcome == "ok" and random.random() >= server.limits.log_sample:  # noqa: S311 - sampling
            return
        fields: dict[str, Any] = {
            "request_id": running.request_id,
            "operation": running.name,
            "outcome": running.outcome,
            "transport": "websocket",
            "ms": round(seconds * 1000, 2),
        }
        if running.codes:
            fields["codes"] = sorted(set(running.codes))
        (log.warning if running.outcome == "failed" else log.info)("graphql.request", **fields)
