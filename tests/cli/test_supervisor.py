from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.resources import CommandError, run_async
from cli.supervisor import Child


def child(tmp_path: Path, code: str, notices: list[str], **options: float) -> Child:
    return Child(
        "part",
        [sys.executable, "-c", code],
        dict(os.environ),
        tmp_path / "part.log",
        notices.append,
        backoff_s=0.01,
        **options,  # type: ignore[arg-type]
    )


async def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_child_that_dies_is_replaced_and_its_last_words_are_told(tmp_path: Path) -> None:
    notices: list[str] = []

    async def main() -> None:
        part = child(tmp_path, "import time; print('I am here', flush=True); time.sleep(60)", notices)
        await part.start()
        task = asyncio.create_task(part.supervise())
        await until(lambda: part.log is not None and part.log.read_text() == "I am here\n")
        first = part.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: part.restarts == 1)
        assert part.pid not in {None, first}
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await part.stop()
        assert part.pid is None

    asyncio.run(main())
    expected = (
        f"part ended with status -9; starting it again. Its log, {tmp_path / 'part.log'}, ends: I am here"
    )
    assert notices == [expected]


def test_child_that_keeps_dying_ends_the_supervision(tmp_path: Path) -> None:
    notices: list[str] = []

    async def main() -> None:
        part = child(tmp_path, "raise SystemExit('no such port')", notices)
        await part.start()
        with pytest.raises(CommandError, match=r"part ended 5 times within a minute\. .* ends: no such port"):
            await part.supervise()

    asyncio.run(main())
    assert len(notices) == 4


def test_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async def main() -> None:
        code = (
            "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
        )
        part = child(tmp_path, code, [], stop_timeout_s=0.3)
        await part.start()
        pid = part.pid
        await until(lambda: part.log is not None and part.log.read_text() == "up\n")
        await part.stop()
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(main())


def test_signal_cancels_a_command_once_and_lets_it_clean_up() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(10)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.05)
            steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run_async(work())
    assert steps == ["cleaned up"]
