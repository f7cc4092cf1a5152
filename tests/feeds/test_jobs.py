from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from feeds.jobs import Job, JobMetrics, run_jobs, run_once

SOON = timedelta(milliseconds=1)


def samples(path: Path) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(path.read_text())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_failing_job_does_not_stop_the_others_and_is_tried_again(tmp_path: Path) -> None:
    runs: list[str] = []

    async def main() -> None:
        stop = asyncio.Event()

        async def fails() -> bool:
            runs.append("fails")
            raise ConnectionError("gone")

        async def works() -> bool:
            runs.append("works")
            if runs.count("works") >= 3 and runs.count("fails") >= 3:
                stop.set()
            return runs.count("works") == 1

        jobs = (Job("fails", SOON, timedelta(1), fails), Job("works", SOON, timedelta(1), works))
        async with asyncio.timeout(10):
            await run_jobs(jobs, JobMetrics(tmp_path / "m" / "feeds.prom"), stop)

    asyncio.run(main())
    found = samples(tmp_path / "m" / "feeds.prom")
    assert found["mintong_feed_job_runs_total", "fails", "failed"] == runs.count("fails")
    assert found["mintong_feed_job_runs_total", "works", "changed"] == 1
    assert found["mintong_feed_job_runs_total", "works", "unchanged"] == runs.count("works") - 1
    assert ("mintong_feed_job_last_success_timestamp_seconds", "works") in found
    assert ("mintong_feed_job_last_success_timestamp_seconds", "fails") not in found


def test_run_that_takes_too_long_is_broken_off(tmp_path: Path) -> None:
    async def hangs() -> bool:
        await asyncio.sleep(60)
        return True

    async def main() -> None:
        async with asyncio.timeout(10):
            await run_once(
                Job("slow", SOON, timedelta(milliseconds=20), hangs), JobMetrics(tmp_path / "f.prom")
            )

    asyncio.run(main())
    found = samples(tmp_path / "f.prom")
    assert found["mintong_feed_job_runs_total", "slow", "failed"] == 1
    assert found["mintong_feed_job_seconds", "slow"] >= 0.02


def test_stop_lets_the_running_job_finish(tmp_path: Path) -> None:
    steps: list[str] = []

    async def main() -> None:
        stop = asyncio.Event()

        async def work() -> bool:
            stop.set()
            await asyncio.sleep(0.05)
            steps.append("finished")
            return True

        await run_jobs((Job("last", SOON, timedelta(1), work),), JobMetrics(tmp_path / "f.prom"), stop)

    asyncio.run(main())
    assert steps == ["finished"]


def test_full_disk_does_not_stop_the_jobs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    metrics = JobMetrics(tmp_path / "file" / "feeds.prom")
    metrics.record("job", "changed", 0.1)
    assert (tmp_path / "file").read_text() == ""
