"""What Prometheus reads at `/metrics`.

Labels are bounded: registered operations and codes of the house, nothing of a client's own wording.

With several worker processes, `PROMETHEUS_MULTIPROC_DIR` (set by `api.server`) makes every process see all.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

UNREGISTERED: Final = "unregistered"
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
OUTCOMES: Final = ("ok", "partial", "refused", "failed", "gone")
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_REQUESTS = Counter(
    "mintong_graphql_requests_total", "GraphQL requests by operation and outcome.", ("operation", "outcome")
)
_SECONDS = Histogram(
    "mintong_graphql_seconds", "Seconds from the request to its answer.", ("operation",), buckets=_BUCKETS
)
_ERRORS = Counter("mintong_graphql_errors_total", "Errors sent to clients by code.", ("code",))
_IN_FLIGHT = Gauge(
    "mintong_graphql_in_flight", "GraphQL requests being answered.", multiprocess_mode="livesum"
)
_SNAPSHOT_VERSION = Gauge(
    "mintong_catalogue_version",
    "Version of the catalogue served (lowest process).",
    multiprocess_mode="livemin",
)
_SNAPSHOT_AGE = Gauge(
    "mintong_catalogue_age_seconds",
    "Age of the catalogue served (oldest process).",
    multiprocess_mode="livemax",
)
_SNAPSHOT_ITEMS = Gauge(
    "mintong_catalogue_items", "Items in the catalogue served (fewest).", multiprocess_mode="livemin"
)

_CACHE_BYTES = Gauge(
    "mintong_cache_bytes", "Bytes held by the engine's caches.", ("cache",), multiprocess_mode="livesum"
)
_CACHE_LOOKUPS = Counter(
    "mintong_cache_lookups_total", "What the engine's caches were asked for.", ("cache", "result")
)

_LIVE_CONNECTIONS = Gauge(
    "mintong_live_connections", "Open WebSocket connections.", multiprocess_mode="livesum"
)
_LIVE_SUBSCRIPTIONS = Gauge(
    "mintong_live_subscriptions", "Running subscriptions.", multiprocess_mode="livesum"
)
_LIVE_DELIVERIES = Counter("mintong_live_deliveries_total", "Events of subscriptions sent to clients.")
_LIVE_CLOSED = Counter("mintong_live_closed_total", "WebSocket connections closed by code.", ("code",))
_LIVE_REFUSED = Counter("mintong_live_refused_total", "Handshakes refused by HTTP status.", ("status",))
_LIVE_HUB = Gauge(
    "mintong_live_hub_connected",
    "Whether every process hears events of the others (1 or 0).",
    multiprocess_mode="livemin",
)

_MEDIA = Counter(
    "mintong_media_uploads_total", "Uploads by what came of them: kept, known or a code.", ("outcome",)
)
_MEDIA_BYTES = Counter("mintong_media_bytes_total", "Bytes of uploads as they were sent.", ("kind",))
_MEDIA_SECONDS = Histogram(
    "mintong_media_cleaning_seconds",
    "Seconds for cleaning an upload, with the wait for its turn.",
    ("kind",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120),
)


class Tally:
    """Requests of one operation and outcome that the registry has not been told of yet."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count a request that was answered."""
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds

    def take(self) -> tuple[list[int], float]:
        """Give what was added up, and begin anew."""
        taken = self.counts, self.seconds
        self.counts, self.seconds = [0] * len(taken[0]), 0.0
        return taken


class Cache(Protocol):
    """A cache of the engine; hits and misses since it was made."""

    hits: int
    misses: int

    @property
    def bytes(self) -> int:
        """How much it holds."""


class Metrics:
    """Count and time requests; children of labels are looked up once.

    What happens with every request is added up here, which costs a tenth of telling the registry; `flush`
    tells it.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, Histogram] = {}
        self._requests: dict[tuple[str, str], Counter] = {}
        self._errors: dict[str, Counter] = {}
        self._tallies: dict[tuple[str | None, str], Tally] = {}
        self._lookups: dict[str, tuple[int, int]] = {}
        self.register(frozenset({UNREGISTERED}))

    def register(self, operations: frozenset[str]) -> None:
        """Give registered operations labels of their own."""
        for name in operations:
            self._seconds[name] = _SECONDS.labels(name)
            for outcome in OUTCOMES:
                self._requests[name, outcome] = _REQUESTS.labels(name, outcome)

    def started(self) -> None:
        """Count a request in."""
        _IN_FLIGHT.inc()

    def finished(self, operation: str | None, outcome: str, seconds: float) -> None:
        """Count a request out; `operation` is a registered name or None."""
        _IN_FLIGHT.dec()
        self.tally(operation, outcome).add(seconds)

    def tally(self, operation: str | None, outcome: str) -> Tally:
        """Give what adds up the requests of an operation, a registered name or None, with one outcome."""
        tally = self._tallies.get((operation, outcome))
        if tally is None:
            name = operation if operation in self._seconds else UNREGISTERED
            tally = self._tallies.setdefault((name, outcome), Tally())
        return tally

    def flush(self) -> None:
        """Tell the registry what was added up."""
        for (name, outcome), tally in self._tallies.items():
            counts, seconds = tally.take()
            if not any(counts):
                continue
            known = self._seconds[name or UNREGISTERED]
            for bucket, count in zip(known._buckets, counts, strict=True):
                if count:
                    bucket.inc(count)
            known._sum.inc(seconds)
            self._requests[name or UNREGISTERED, outcome].inc(sum(counts))

    def cache(self, name: str, cache: Cache) -> None:
        """Tell the registry how a cache of this process does; `name` is a fixed one of the house."""
        hits, misses = self._lookups.get(name, (0, 0))
        _CACHE_LOOKUPS.labels(name, "hit").inc(cache.hits - hits)
        _CACHE_LOOKUPS.labels(name, "miss").inc(cache.misses - misses)
        _CACHE_BYTES.labels(name).set(cache.bytes)
        self._lookups[name] = (cache.hits, cache.misses)

    def error(self, code: str) -> None:
        """Count an error by its code."""
        counter = self._errors.get(code)
        if counter is None:
            counter = self._errors[code] = _ERRORS.labels(code)
        counter.inc()

    def snapshot(self, *, version: int, age_s: float, items: int) -> None:
        """Set what is known of the catalogue served."""
        _SNAPSHOT_VERSION.set(version)
        _SNAPSHOT_AGE.set(age_s)
        _SNAPSHOT_ITEMS.set(items)

    def media_kept(self, kind: str, size_bytes: int, cleaning_s: float | None) -> None:
        """Count an upload; `cleaning_s` is None for one that was there already."""
        _MEDIA.labels("known" if cleaning_s is None else "kept").inc()
        _MEDIA_BYTES.labels(kind).inc(size_bytes)
        if cleaning_s is not None:
            _MEDIA_SECONDS.labels(kind).observe(cleaning_s)

    def media_refused(self, code: str) -> None:
        """Count an upload that was refused, by its code."""
        _MEDIA.labels(code).inc()

    def live_opened(self) -> None:
        """Count a WebSocket connection in."""
        _LIVE_CONNECTIONS.inc()

    def live_closed(self, code: str) -> None:
        """Count a WebSocket connection out, by the label of its code."""
        _LIVE_CONNECTIONS.dec()
        _LIVE_CLOSED.labels(code).inc()

    def live_refused(self, status: int) -> None:
        """Count a handshake that was refused."""
        _LIVE_REFUSED.labels(str(status)).inc()

    @contextmanager
    def live_subscription(self) -> Iterator[None]:
        """Count a subscription for as long as it runs."""
        _LIVE_SUBSCRIPTIONS.inc()
        try:
            yield
        finally:
            _LIVE_SUBSCRIPTIONS.dec()

    def live_delivered(self) -> None:
        """Count an event sent to one client."""
        _LIVE_DELIVERIES.inc()

    def live_hub(self, connected: bool) -> None:
        """Set whether this process hears the events of others."""
        _LIVE_HUB.set(int(connected))


def render() -> bytes:
    """Give all metrics in Prometheus's text format, of all worker processes when there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
