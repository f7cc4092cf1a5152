"""Periodic jobs: each on its own interval, isolated from the others, counted and timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, write_to_textfile

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done every `interval`, counted from the end of one run to the start of the next.

    `work` tells whether it changed anything. A run that takes longer than `timeout` is broken off.
    """

    name: str
    interval: timedelta
    timeout: timedelta
    work: Callable[[], Awaitable[bool]]


class JobMetrics:
    """Counts and times of the jobs, written as a text file for Prometheus' node exporter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._registry = CollectorRegistry()
        self.runs = Counter(
            "mintong_feed_job_runs", "Runs by outcome.", ("job", "outcome"), registry=self._registry
        )
        self.seconds = Gauge(
            "mintong_feed_job_seconds", "How long the last run took.", ("job",), registry=self._registry
        )
        self.succeeded = Gauge(
            "mintong_feed_job_last_success_timestamp_seconds",
            "When a run last succeeded.",
            ("job",),
            registry=self._registry,
        )

    def record(self, job: str, outcome: str, seconds: float) -> None:
        """Note a run and write the file anew; readers see the old file or the new one."""
        self.runs.labels(job, outcome).inc()
        self.seconds.labels(job).set(seconds)
        if outcome != "failed":
            self.succeeded.labels(job).set_to_current_time()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_to_textfile(str(self._path), self._registry)
        except OSError as error:
            log.warning("job.metrics_unwritten", path=str(self._path), error=error.strerror)


async def run_jobs(jobs: Sequence[Job], metrics: JobMetrics, stop: asyncio.Event) -> None:
    """Run the jobs until `stop` is set; what runs then is finished first."""
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_repeat(job, metrics, stop), name=job.name)


async def _repeat(job: Job, metrics: JobMetrics, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await run_once(job, metrics)
        with suppress(TimeoutError):
            async with asyncio.timeout(job.interval.total_seconds()):
                await stop.wait()


async def run_once(job: Job, metrics: JobMetrics) -> None:
    """Run a job once; a failure is logged and counted, and the next run tries again."""
    started = time.monotonic()
    outcome = "failed"
    try:
        async with asyncio.timeout(job.timeout.total_seconds()):
            outcome = "changed" if await job.work() else "unchanged"
    except Exception as error:
        log.warning("job.failed", job=job.name, error=type(error).__name__, exc_info=error)
    seconds = time.monotonic() - started
    if outcome == "changed":
        log.info("job.done", job=job.name, seconds=round(seconds, 3))
    await asyncio.to_thread(metrics.record, job.name, outcome, seconds)
