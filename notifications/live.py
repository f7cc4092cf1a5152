"""Events between processes: Redis pub/sub in, bounded queues of this process out.

Every process hears every event of the one channel and hands it to whoever listens to its topic here. Pub/sub
keeps nothing: what happens while Redis is away is lost to it. So whoever listens has a cursor of its own in
the store, and is told (`Closed.GAP`) when it may have missed something. Events carry ids, never words.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, Protocol

import msgspec
import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

CHANNEL: Final = "mintong:live"
BROADCAST: Final = "broadcast"
MAX_TOPICS: Final = 1_000
MAX_TOPIC_CHARS: Final = 200
MAX_EVENT_BYTES: Final = 65_536
MAX_QUEUE: Final = 1_000
_MAX_WIRE_BYTES: Final = MAX_EVENT_BYTES + MAX_TOPICS * (4 * MAX_TOPIC_CHARS + 5) + 16

_PING_AFTER_S: Final = 10.0
_LOST_AFTER_S: Final = 30.0
_RETRY_S: Final = 0.1
_MAX_RETRY_S: Final = 5.0
# A session that ends while its connection is being set up must still be noticed.
_REMEMBER_S: Final = 60.0
_MAX_REMEMBERED: Final = 20_000


class LiveEvent(Struct, frozen=True, gc=False):
    """One event of one topic; the same object for all who listen to the topic in this process."""

    topic: str
    body: bytes


class Closed(StrEnum):
    """Why a listener hears no more."""

    SLOW = "SLOW"
    """Its queue was full: events were not kept for it."""
    GAP = "GAP"
    """Events may have been lost between the processes; resume from the cursor."""
    STOPPED = "STOPPED"
    """The process is stopping."""


class ListenerClosedError(Exception):
    """A listener hears no more; listen again and read what is newer than your cursor."""

    def __init__(self, reason: Closed) -> None:
        super().__init__(reason.value)
        self.reason = reason


class _Wire(Struct, frozen=True, array_like=True, gc=False):
    topics: list[str]
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)


def account_topic(account_id: str) -> str:
    """Name the topic of what one account is told."""
    return f"account:{account_id}"


def session_ended_topic(session_id: str) -> str:
    """Name the topic that hears once that a session was revoked."""
    return f"session-ended:{session_id}"


async def publish(redis: Redis, topic: str, event: bytes) -> None:
    """Tell all processes one event of one topic; nobody keeps it.

    Raises: ValueError beyond the bounds; redis.exceptions.RedisError.
    """
    await publish_to(redis, (topic,), event)


async def publish_to(redis: Redis, topics: Sequence[str], event: bytes) -> None:
    """Tell all processes one event of up to 1,000 topics; who listens to several of them hears it once.

    Raises: ValueError beyond the bounds; redis.exceptions.RedisError.
    """
    if not 0 < len(topics) <= MAX_TOPICS or len(event) > MAX_EVENT_BYTES:
        raise ValueError(f"an event has 1 to {MAX_TOPICS} topics and at most {MAX_EVENT_BYTES} bytes")
    if any(not 0 < len(topic) <= MAX_TOPIC_CHARS for topic in topics):
        raise ValueError(f"a topic has 1 to {MAX_TOPIC_CHARS} characters")
    await redis.publish(CHANNEL, _encoder.encode(_Wire(list(topics), event)))


class _Hearer(Protocol):
    def hear(self, event: LiveEvent) -> None:
        """Take an event at once."""


class _Watcher:
    """Calls a function for each event."""

    __slots__ = ("hear",)

    def __init__(self, hear: Callable[[LiveEvent], None]) -> None:
        self.hear = hear


class Listener:
    """The events of some topics, at most `max_queue` of them waiting.

    Iterate over it once. When it is closed, what still waits is dropped, because what came after it is lost.
    """

    __slots__ = ("_closed", "_events", "_max_queue", "_waiter")

    def __init__(self, max_queue: int) -> None:
        self._events: deque[LiveEvent] = deque()
        self._max_queue = max_queue
        self._waiter: asyncio.Future[None] | None = None
        self._closed: Closed | None = None

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> LiveEvent:
        while True:
            if self._closed is not None:
                raise ListenerClosedError(self._closed)
            if self._events:
                return self._events.popleft()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def hear(self, event: LiveEvent) -> None:
        """Take an event, or be closed when too many wait."""
        if self._closed is not None:
            return
        if len(self._events) >= self._max_queue:
            self.close(Closed.SLOW)
            return
        self._events.append(event)
        self._wake()

    def close(self, reason: Closed) -> None:
        """Hear no more; the first reason counts."""
        if self._closed is None:
            self._closed = reason
            self._events.clear()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class LiveHub:
    """All live events of one process, over one Redis connection; `run` it as long as the process lives."""

    def __init__(self, redis: Redis, *, observe: Callable[[bool], None] = lambda _: None) -> None:
        """`observe` is told whenever the connection to Redis comes or goes."""
        self._redis = redis
        self._observe = observe
        self._topics: dict[str, set[_Hearer]] = {}
        self._listeners: set[Listener] = set()
        self._gap_calls: list[Callable[[], None]] = []
        self._recent: OrderedDict[str, float] = OrderedDict()
        self.is_connected = False

    @contextlib.asynccontextmanager
    async def listen(self, topics: Sequence[str], max_queue: int = 100) -> AsyncIterator[Listener]:
        """Listen to topics from now on, with at most `max_queue` events waiting.

        Iterating raises ListenerClosedError when events were or may have been lost.

        Raises: ValueError for a queue without bounds.
        """
        if not 1 <= max_queue <= MAX_QUEUE:
            raise ValueError(f"a queue holds 1 to {MAX_QUEUE} events")
        listener = Listener(max_queue)
        self._listeners.add(listener)
        try:
            with self._hearing(topics, listener):
                yield listener
        finally:
            self._listeners.discard(listener)

    @contextmanager
    def watch(self, topic: str, call: Callable[[LiveEvent], None]) -> Iterator[None]:
        """Call a function for each event of a topic, without a queue; it must not block or raise.

        An event of the last minute is told at once when `topic` ends a session.
        """
        with self._hearing((topic,), _Watcher(call)):
            if topic in self._recent:
                call(LiveEvent(topic, b""))
            yield

    @contextmanager
    def watch_gaps(self, call: Callable[[], None]) -> Iterator[None]:
        """Call a function whenever events may have been lost."""
        self._gap_calls.append(call)
        try:
            yield
        finally:
            self._gap_calls.remove(call)

    def dispatch(self, topics: Sequence[str], body: bytes) -> None:
        """Hand an event to those of this process who listen to one of its topics, to each once."""
        told: set[_Hearer] = set()
        for topic in topics:
            if topic.startswith("session-ended:"):
                self._remember(topic)
            hearers = self._topics.get(topic)
            if not hearers:
                continue
            event = LiveEvent(topic, body)
            # A watcher may end its connection, and with it other hearers of the topic.
            for hearer in tuple(hearers):
                if hearer not in told:
                    told.add(hearer)
                    hearer.hear(event)

    async def run(self) -> None:
        """Follow Redis until cancelled; a connection that is lost is opened again."""
        wait_s = _RETRY_S
        try:
            while True:
                try:
                    await self._follow()
                except (RedisError, OSError) as error:
                    wait_s = _RETRY_S if self.is_connected else min(_MAX_RETRY_S, wait_s * 2)
                    self._disconnected(type(error).__name__)
                _honour_cancellation()
                await asyncio.sleep(wait_s)
        finally:
            self._disconnected("stopped")
            self._close_all(Closed.STOPPED)

    # --- Redis --------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            _honour_cancellation()
            loop = asyncio.get_running_loop()
            heard_at = pinged_at = loop.time()
            while True:
                message = await channel.get_message(timeout=_PING_AFTER_S)
                _honour_cancellation()
                now = loop.time()
                if message is not None:
                    heard_at = now
                    self._take(message)
                elif now - heard_at > _LOST_AFTER_S:
                    raise RedisConnectionError("no answer to a ping")
                elif now - max(heard_at, pinged_at) >= _PING_AFTER_S:
                    pinged_at = now
                    await channel.ping()

    def _take(self, message: dict[str, object]) -> None:
        if message["type"] == "subscribe":
            # Also after the client's own silent reconnect, which subscribes again.
            self._connected()
            return
        data = message["data"]
        if message["type"] != "message" or not isinstance(data, bytes) or len(data) > _MAX_WIRE_BYTES:
            return
        try:
            event = _decoder.decode(data)
        except msgspec.DecodeError:
            log.warning("live.unreadable_event", bytes=len(data))
            return
        self.dispatch(event.topics, event.body)

    def _connected(self) -> None:
        if not self.is_connected:
            log.info("live.connected")
        self.is_connected = True
        self._observe(True)
        self._close_all(Closed.GAP)
        for call in tuple(self._gap_calls):
            call()

    def _disconnected(self, reason: str) -> None:
        if self.is_connected:
            log.warning("live.disconnected", reason=reason)
        self.is_connected = False
        self._observe(False)

    # --- this process -------------------------------------------------------------------------------------

    @contextmanager
    def _hearing(self, topics: Sequence[str], hearer: _Hearer) -> Iterator[None]:
        for topic in topics:
            self._topics.setdefault(topic, set()).add(hearer)
        try:
            yield
        finally:
            for topic in topics:
                hearers = self._topics.get(topic)
                if hearers is not None:
                    hearers.discard(hearer)
                    if not hearers:
                        del self._topics[topic]

    def _close_all(self, reason: Closed) -> None:
        for listener in tuple(self._listeners):
            listener.close(reason)

    def _remember(self, topic: str) -> None:
        now = asyncio.get_running_loop().time()
        self._recent[topic] = now
        self._recent.move_to_end(topic)
        while self._recent:
            oldest = next(iter(self._recent))
            if len(self._recent) <= _MAX_REMEMBERED and now - self._recent[oldest] < _REMEMBER_S:
                break
            del self._recent[oldest]


def _honour_cancellation() -> None:
    """Raise a cancellation that `asyncio.wait_for` of Python 3.11 swallowed inside the Redis client."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
