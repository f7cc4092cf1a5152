"""Running subscriptions: a stream of source events, each turned into the JSON of one payload.

What is the same for several viewers is executed once per event and selection, and its text shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Mapping
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any, Final, cast

import orjson
from graphql import ExecutionResult, GraphQLError, execute_subscription_event
from graphql.execution import create_source_event_stream
from msgspec import Struct

from api.documents import BoundedCache
from api.errors import TIMEOUT, RequestError
from api.execution import CoreOperation, Outcome
from resolvers.context import Context
from resolvers.live import SharedEvent

MAX_SHARED_TEXTS: Final = 512
MAX_SHARED_CHARS: Final = 4_000_000


class SubscriptionOperation:
    """One subscription of a document, ready to be run any number of times."""

    __slots__ = ("_core", "label", "name")

    def __init__(self, core: CoreOperation) -> None:
        self._core = core
        self.name = core.name
        self.label: str | None = None

    async def open(self, variables: Mapping[str, Any], context: Context) -> AsyncIterator[Any] | Outcome:
        """Ask the field's resolver for its events; give the refusal where there are none.

        Raises: RequestError when limits refuse the variables, or the time is over.
        """
        core = self._core
        core.check(variables)
        executor = core.executor(variables, context)
        if isinstance(executor, list):
            return core.outcome(None, executor, context)
        opened = create_source_event_stream(executor)
        if isawaitable(opened):
            async with _in_time(core.timeout_s):
                opened = await opened
        if isinstance(opened, ExecutionResult):
            return core.outcome(None, opened.errors or (), context)
        return aiter(cast("AsyncIterator[Any]", opened))

    def payload(
        self, event: object, variables: Mapping[str, Any], context: Context
    ) -> str | Coroutine[Any, Any, str]:
        """Execute the selection of one event; give the JSON, at once where no resolver has to wait.

        Raises: RequestError when the time is over.
        """
        core = self._core
        executor = core.executor(variables, context, event)
        if isinstance(executor, list):
            return core.outcome(None, executor, context).body.decode()
        result = execute_subscription_event(executor)
        if isinstance(result, ExecutionResult):
            return self._json(result, context)
        return self._awaited(result, context)

    async def _awaited(self, pending: Awaitable[ExecutionResult], context: Context) -> str:
        async with _in_time(self._core.timeout_s):
            result = await pending
        return self._json(result, context)

    def _json(self, result: ExecutionResult, context: Context) -> str:
        return self._core.outcome(result.data, result.errors or (), context).body.decode()

    def failure(self, error: Exception, context: Context) -> Outcome:
        """Word an error that the resolver raised between two events."""
        return self._core.outcome(None, [GraphQLError(str(error), original_error=error)], context)


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise RequestError(TIMEOUT, seconds=seconds) from None


async def end_events(events: AsyncIterator[Any]) -> None:
    """End a resolver's generator, so that it gives back what it holds."""
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()


class Selection(Struct, frozen=True):
    """What one subscriber selects of the events: operation, variables, language."""

    operation: SubscriptionOperation
    variables: Mapping[str, Any]
    key: Hashable

    @classmethod
    def of(cls, operation: SubscriptionOperation, variables: Mapping[str, Any], language: str) -> Selection:
        """Make it; the key tells selections apart exactly, `1` from `1.0` too."""
        text = orjson.dumps(variables, option=orjson.OPT_SORT_KEYS) if variables else b""
        return cls(operation, variables, (operation, text, language))


class SharedPayloads:
    """The newest payloads of shared events by event and selection; each is executed once."""

    def __init__(self, max_entries: int = MAX_SHARED_TEXTS, max_chars: int = MAX_SHARED_CHARS) -> None:
        self._texts: BoundedCache[str] = BoundedCache(max_entries, max_chars)
        self._running: dict[Hashable, asyncio.Task[str]] = {}
        self.executed = 0

    def of(
        self, event: SharedEvent[Any], selection: Selection, make_context: Callable[[], Context]
    ) -> str | Awaitable[str]:
        """Give the payload of an event, at once where it is there; `make_context` makes one without a viewer.

        Raises: RequestError when the time is over.
        """
        key = (event.key, selection.key)
        text = self._texts.get(key)
        if text is not None:
            return text
        task = self._running.get(key)
        if task is None:
            self.executed += 1
            payload = selection.operation.payload(event.value, selection.variables, make_context())
            if isinstance(payload, str):
                self._texts.put(key, payload, len(payload))
                return payload
            task = asyncio.create_task(self._execute(key, payload))
            self._running[key] = task
            task.add_done_callback(_retrieve)
        # Whoever asked first may leave while the others still wait.
        return asyncio.shield(task)

    async def _execute(self, key: Hashable, payload: Coroutine[Any, Any, str]) -> str:
        try:
            text = await payload
            self._texts.put(key, text, len(text))
            return text
        finally:
            del self._running[key]


def _retrieve(task: asyncio.Task[str]) -> None:
    """Look at the outcome, for the case that everybody who waited for it has left."""
    if not task.cancelled():
        task.exception()
