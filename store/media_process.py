"""Cleaning from the server's side: a bounded number of processes, a bounded queue before them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec
import structlog

from domain.errors import DomainError
from domain.media import (
    INLINE_TYPES,
    Cleaned,
    MediaBusyError,
    MediaDamagedError,
    MediaFormat,
    MediaLimits,
    MediaTooLargeError,
    MediaTypeError,
)
from store.leash import leashed
from store.media_cleaning import CPU_S, CleaningJob, CleaningResult

log = structlog.get_logger(__name__)

_WALL_S: Final = 2.0 * CPU_S
_ANSWER_BYTES: Final = 16_384
_RETRY_S: Final = 10
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
"""All that the process learns of this one's environment, which has passwords in it."""
_COMMAND: Final = (sys.executable, "-P", "-s", "-B", "-m", "store.media_cleaning")


class Cleaner:
    """Runs the processes that clean uploads: `processes` at a time, `waiting` more may wait for one."""

    def __init__(self, limits: MediaLimits, *, processes: int = 2, waiting: int = 16) -> None:
        self.limits = limits
        self._free = asyncio.Semaphore(processes)
        self._most = processes + waiting
        self._inside = 0

    @property
    def is_full(self) -> bool:
        """Tell whether another upload would be refused."""
        return self._inside >= self._most

    async def clean(self, source: Path, format_: MediaFormat, target: Path, thumbnail: Path) -> Cleaned:
        """Write a file anew as `target`, and `thumbnail` beside it unless it is sound.

        Raises: MediaTypeError, MediaDamagedError, MediaTooLargeError, MediaBusyError.
        """
        job = CleaningJob(str(source), str(target), str(thumbnail), format_, self.limits)
        async with self._place():
            result = await _run(job)
        if result.cleaned is not None:
            return result.cleaned
        log.info("media.refused", format=format_.value, code=result.refusal, reason=result.reason)
        raise _refusal(result)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self.is_full:
            raise MediaBusyError(seconds=_RETRY_S)
        self._inside += 1
        try:
            async with self._free:
                yield
        finally:
            self._inside -= 1


async def _run(job: CleaningJob) -> CleaningResult:
    command = leashed([*_COMMAND, msgspec.json.encode(job).decode()], signal.SIGKILL)
    started = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(job.target).parent,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        async with asyncio.timeout(_WALL_S):
            answer = await process.stdout.read(_ANSWER_BYTES)
            code = await process.wait()
    except TimeoutError:
        log.warning("media.cleaning_too_slow", format=job.format.value)
        raise MediaBusyError(seconds=_RETRY_S) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        # Killed by a limit or by a decoder's fault: either way these bytes cannot be decoded here.
        seconds = round(perf_counter() - started, 1)
        log.warning("media.cleaning_died", format=job.format.value, exit_code=code, seconds=seconds)
        return CleaningResult(refusal=MediaDamagedError.code, reason=f"exit {code}")
    try:
        result = msgspec.json.decode(answer, type=CleaningResult)
    except msgspec.DecodeError:
        return CleaningResult(refusal=MediaDamagedError.code, reason="no answer")
    if result.cleaned is not None and result.cleaned.content_type not in INLINE_TYPES:
        return CleaningResult(refusal=MediaDamagedError.code, reason="content type")
    return result


def _refusal(result: CleaningResult) -> DomainError:
    if result.refusal == MediaTooLargeError.code:
        return MediaTooLargeError(limit=result.limit)
    if result.refusal == MediaTypeError.code:
        return MediaTypeError()
    return MediaDamagedError()
