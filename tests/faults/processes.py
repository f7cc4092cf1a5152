"""Processes of an installation as its operator starts them, and waiting for what they do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


async def until(check: Callable[[], Awaitable[bool]], within_s: float, what: str) -> float:
    """Wait until a check holds and tell for how long, in seconds."""
    started = time.monotonic()
    while not await check():
        assert time.monotonic() < started + within_s, f"{what}: not within {within_s} s"
        await asyncio.sleep(0.1)
    return time.monotonic() - started


def environment(engines: Any, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MINTONG_")}
    return kept | {
        "MONGODB_URI": engines.mongodb_uri,
        "REDIS_URL": engines.redis_url,
        "MINTONG_HOME": str(home),
        "MINTONG_ENGINE_TIMEOUT_MS": "1000",
        "MINTONG_SNAPSHOT_POLL_S": "0.5",
        "MINTONG_LOG_SAMPLE": "0",
    }


@contextmanager
def api_process(variables: dict[str, str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "cli.main", "api"],
            env=variables | {"MINTONG_PORT": str(port)},
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
