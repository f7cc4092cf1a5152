"""Child processes of `mintong run`: started, watched, replaced when they die, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.resources import CommandError
from store.engines import bound_log
from store.leash import leashed

_FAILURES = 5
_WINDOW_S = 60.0
_BACKOFF_MAX_S = 10.0


def mintong_command(*arguments: str) -> list[str]:
    """Return the command line that runs `mintong` with these arguments in this installation."""
    return [sys.executable, "-P", "-m", "cli.main", *arguments]


@dataclass(slots=True)
class Child:
    """One child process; `log` None lets it write to the terminal."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path | None
    notify: Callable[[str], None]
    stop_timeout_s: float = 15.0
    backoff_s: float = 0.5
    restarts: int = 0
    _process: asyncio.subprocess.Process | None = None
    _deaths: deque[float] = field(default_factory=lambda: deque(maxlen=_FAILURES))

    @property
    def pid(self) -> int | None:
        """Return the process id while the child runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process; it gets SIGTERM when this process dies."""
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(self.log.open("ab")) if self.log else None
            # A session of its own: the terminal's Ctrl-C is for the supervisor, which stops all in order.
            self._process = await asyncio.create_subprocess_exec(
                *leashed(self.command, signal.SIGTERM),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT if target else None,
                start_new_session=True,
            )

    async def wait(self) -> int:
        """Wait for the end of the process and return its status."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return await self._process.wait()

    async def supervise(self) -> None:
        """Replace the process whenever it ends, until cancelled.

        Raises: CommandError when it ends too often.
        """
        delay_s = self.backoff_s
        while True:
            status = await self._wait_and_bound_log()
            now = time.monotonic()
            if self._deaths and now - self._deaths[-1] > _WINDOW_S:
                delay_s = self.backoff_s
            self._deaths.append(now)
            if len(self._deaths) == _FAILURES and now - self._deaths[0] < _WINDOW_S:
                raise CommandError(
                    f"{self.name} ended {_FAILURES} times within a minute. {self.last_words()}"
                )
            self.notify(f"{self.name} ended with status {status}; starting it again. {self.last_words()}")
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _BACKOFF_MAX_S)
            await self.start()
            self.restarts += 1

    async def stop(self) -> None:
        """End the process: politely, after `stop_timeout_s` by force."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self.stop_timeout_s)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def last_words(self) -> str:
        """Return where the log is and how it ends."""
        if self.log is None:
            return ""
        lines = self.log.read_bytes()[-8000:].decode(errors="replace").strip().splitlines()
        return (
            f"Its log, {self.log}, ends: {lines[-1].strip()}" if lines else f"Its log, {self.log}, is empty."
        )

    async def _wait_and_bound_log(self) -> int:
        ended = asyncio.ensure_future(self.wait())
        try:
            while not (await asyncio.wait({ended}, timeout=10))[0]:
                if self.log:
                    await asyncio.to_thread(bound_log, self.log)
        finally:
            ended.cancel()
        return ended.result()
