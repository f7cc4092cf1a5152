"""The embedded engines: MongoDB-compatible and Redis servers as supervised child processes of ours.

For trial, development and tests; a production system sets MONGODB_URI and REDIS_URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import structlog

from store.engine_kinds import EngineError, EngineKind, MongoKind, RedisKind, write_private
from store.leash import leashed

__all__ = [
    "EmbeddedEngines",
    "EngineAddresses",
    "EngineError",
    "HealthPolicy",
    "bound_log",
    "find_running",
    "join_or_start",
]

log = structlog.get_logger(__name__)

_LOG_BYTES = 4 * 1024 * 1024
_RECORD = "engines.json"
_BUSY_TICKS = 10  # a tenth of a second of processor time within one unanswered question


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When an engine counts as hanging, and how often it is started anew.

    An engine that gives no answer but works (its processor time grows) is busy, not hanging: a long scan
    holds up every other client of the embedded MongoDB. It gets `busy_failures` chances, not `failures`.
    """

    interval_s: float = 1.0
    timeout_s: float = 5.0
    failures: int = 2
    busy_failures: int = 24
    start_timeout_s: float = 60.0
    stop_timeout_s: float = 15.0
    backoff_s: float = 0.2
    backoff_max_s: float = 5.0
    restarts: int = 8
    window_s: float = 120.0


@dataclass(frozen=True, slots=True)
class EngineAddresses:
    """Where the engines of a home answer, and the process that runs them."""

    pid: int
    mongodb_uri: str | None
    redis_url: str | None


class EmbeddedEngines:
    """Runs the engines of one home folder while the context is open; no other process may meanwhile.

    An engine that dies or hangs is replaced on the same port, so that clients reconnect by themselves.
    """

    def __init__(
        self, home: Path, *, mongodb: bool = True, redis: bool = True, policy: HealthPolicy | None = None
    ) -> None:
        self.home = home.expanduser().resolve()
        self._policy = policy or HealthPolicy()
        kinds: list[EngineKind] = []
        if mongodb:
            kinds.append(MongoKind(self.home))
        if redis:
            kinds.append(RedisKind(self.home))
        self._engines = {
            kind.name: _Engine(kind, self.home / "logs", self._policy, self._record) for kind in kinds
        }
        self._lock: IO[str] | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def mongodb_uri(self) -> str:
        """Return the address of the MongoDB engine."""
        return self._engines["mongodb"].url

    @property
    def redis_url(self) -> str:
        """Return the address of the Redis engine."""
        return self._engines["redis"].url

    @property
    def pids(self) -> dict[str, int]:
        """Return the process id of each engine that runs now, by name."""
        return {name: engine.pid for name, engine in self._engines.items() if engine.pid is not None}

    @property
    def restarts(self) -> dict[str, int]:
        """Return how often each engine was replaced since the context was opened, by name."""
        return {name: engine.restarts for name, engine in self._engines.items()}

    async def wait_failed(self) -> None:
        """Wait until an engine has been given up.

        Raises: EngineError with the last reason.
        """
        tasks = [asyncio.ensure_future(engine.given_up.wait()) for engine in self._engines.values()]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        reasons = [engine.last_error for engine in self._engines.values() if engine.given_up.is_set()]
        raise EngineError("; ".join(reasons))

    async def __aenter__(self) -> Self:
        self._lock = _lock_home(self.home)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._release)
            await _stop_stale(self.home)
            # All get the chance to stop before the first failure is raised, also when the start is cancelled.
            for engine in self._engines.values():
                stack.push_async_callback(engine.stop)
            results = await asyncio.gather(
                *(engine.start() for engine in self._engines.values()), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.gather(*(engine.stop() for engine in self._engines.values()))
        await self._stack.aclose()

    def _record(self) -> None:
        mongodb, redis = self._engines.get("mongodb"), self._engines.get("redis")
        record = {
            "pid": os.getpid(),
            "mongodb_uri": mongodb.url if mongodb and mongodb.port else None,
            "redis_url": redis.url if redis and redis.port else None,
            "engines": self.pids,
        }
        write_private(self.home / _RECORD, json.dumps(record))

    def _release(self) -> None:
        (self.home / _RECORD).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


@dataclass(slots=True)
class _Engine:
    """One engine: its process, its log and the task that watches over it."""

    kind: EngineKind
    logs: Path
    policy: HealthPolicy
    changed: Callable[[], None]  # called after every start, so that the record on disk names the new process
    port: int = 0
    restarts: int = 0
    last_error: str = ""
    given_up: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _watch: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return self.kind.url(self.port)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start on a free port and begin to watch. Raises: EngineError when it does not come up."""
        self.kind.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for attempt in range(3):
            self.port = _free_port()
            try:
                await self._launch()
                break
            except _PortTakenError:
                # Somebody took the port between our choice and the engine's own bind.
                if attempt == 2:
                    raise
        self._watch = asyncio.create_task(self._supervise(), name=f"watch {self.kind.name}")

    async def stop(self) -> None:
        """Stop watching, then end the process: politely, after `stop_timeout_s` by force."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._end(self.policy.stop_timeout_s)

    async def _launch(self) -> None:
        command = self.kind.command(self.port)
        with _open_log(self.logs / f"{self.kind.name}.log") as output:
            # Started by the loop's own thread: the leash is tied to it. A session of its own keeps the
            # terminal's Ctrl-C away, which is the supervisor's to handle.
            self._process = await asyncio.create_subprocess_exec(
                *leashed(command, signal.SIGKILL),
                cwd=self.kind.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.changed()
            await self._wait_ready(self._process)
        except BaseException:
            await self._end(0)
            raise

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + self.policy.start_timeout_s
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise _PortTakenError(f"{self.kind.name} stopped while starting. {self._log_tail()}")
            answering = await self.kind.answering_pid(self.port, 500)
            if answering == process.pid:
                return
            if answering is not None:
                raise _PortTakenError(
                    f"Port {self.port} for {self.kind.name} is used by process {answering}."
                )
            await asyncio.sleep(0.05)
        raise EngineError(
            f"{self.kind.name} gave no answer within {self.policy.start_timeout_s:g} s. {self._log_tail()}"
        )

    async def _supervise(self) -> None:
        recent: deque[float] = deque(maxlen=self.policy.restarts)
        delay_s = self.policy.backoff_s
        while True:
            reason = await self._until_unhealthy()
            log.warning("engine.unhealthy", engine=self.kind.name, reason=reason)
            while True:
                await self._end(0)
                if len(recent) == recent.maxlen and time.monotonic() - recent[0] < self.policy.window_s:
                    self.last_error = f"{self.kind.name} failed too often: {reason}. {self._log_tail()}"
                    log.error("engine.given_up", engine=self.kind.name, reason=reason)
                    self.given_up.set()
                    return
                if recent and time.monotonic() - recent[-1] > self.policy.window_s:
                    delay_s = self.policy.backoff_s
                recent.append(time.monotonic())
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, self.policy.backoff_max_s)
                try:
                    await self._launch()
                except EngineError as error:
                    reason = str(error)
                    continue
                self.restarts += 1
                log.info("engine.restarted", engine=self.kind.name)
                break

    async def _until_unhealthy(self) -> str:
        process = self._process
        if process is None:
            return "was not running"
        exited = asyncio.ensure_future(process.wait())
        failures, idle = 0, 0
        try:
            while idle < self.policy.failures and failures < self.policy.busy_failures:
                await asyncio.wait({exited}, timeout=self.policy.interval_s)
                if exited.done():
                    return f"ended with status {exited.result()}"
                worked = _processor_ticks(process.pid)
                answering = await self.kind.answering_pid(self.port, int(self.policy.timeout_s * 1000))
                if answering == process.pid:
                    failures, idle = 0, 0
                else:
                    failures += 1
                    idle = 0 if _processor_ticks(process.pid) > worked + _BUSY_TICKS else idle + 1
                await asyncio.to_thread(bound_log, self.logs / f"{self.kind.name}.log")
        finally:
            exited.cancel()
        return f"gave no answer {failures} times within {self.policy.timeout_s:g} s"

    async def _end(self, grace_s: float) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if grace_s > 0:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace_s)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _log_tail(self) -> str:
        path = self.logs / f"{self.kind.name}.log"
        try:
            lines = path.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return f"Its log, {path}, ends: {lines[-1]!r}" if lines else f"Its log, {path}, is empty."


class _PortTakenError(EngineError):
    """The engine could not have its port, or ended at once as it does when the port is taken."""


def find_running(home: Path) -> EngineAddresses | None:
    """Return the engines that another process runs for this home, or None."""
    home = home.expanduser().resolve()
    try:
        record = json.loads((home / _RECORD).read_text())
        with (home / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # nobody holds it: the record is what a killed process left
    except BlockingIOError:
        return EngineAddresses(
            pid=int(record["pid"]), mongodb_uri=record["mongodb_uri"], redis_url=record["redis_url"]
        )
    except (OSError, ValueError):
        return None


@contextlib.asynccontextmanager
async def join_or_start(
    home: Path, *, mongodb: bool = True, redis: bool = True
) -> AsyncIterator[EngineAddresses]:
    """Use the engines that already run for this home, else run them while the context is open.

    Raises: EngineError when they can be neither joined nor started.
    """
    running = find_running(home)
    if running is not None:
        if (mongodb and running.mongodb_uri is None) or (redis and running.redis_url is None):
            raise EngineError(
                f"Process {running.pid} uses {home} with other settings of MONGODB_URI and REDIS_URL: "
                "set the same ones here, or stop it."
            )
        yield running
        return
    async with EmbeddedEngines(home, mongodb=mongodb, redis=redis) as engines:
        yield EngineAddresses(
            pid=os.getpid(),
            mongodb_uri=engines.mongodb_uri if mongodb else None,
            redis_url=engines.redis_url if redis else None,
        )


def _lock_home(home: Path) -> IO[str]:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "logs").mkdir(mode=0o700, exist_ok=True)
    lock = (home / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise EngineError(
            f"{home} is in use by process {holder}. Stop it first, or set MINTONG_HOME to another folder."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


async def _stop_stale(home: Path) -> None:
    """End engines that a killed predecessor left behind; needed where the kernel has no leash."""
    try:
        record = json.loads((home / _RECORD).read_text())
    except (OSError, ValueError):
        return
    for name, pid in record.get("engines", {}).items():
        if _is_ours(int(pid), home / name):
            log.warning("engine.stale", engine=name, pid=pid)
            os.kill(int(pid), signal.SIGKILL)
            for _ in range(100):
                if not _is_ours(int(pid), home / name):
                    break
                await asyncio.sleep(0.05)


def _is_ours(pid: int, directory: Path) -> bool:
    """Tell whether a process is an engine of this home: it runs in the engine's folder."""
    if sys.platform == "linux":
        try:
            return Path(os.readlink(f"/proc/{pid}/cwd")) == directory
        except OSError:
            return False
    listing = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return str(directory) in listing.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open_log(path: Path) -> IO[bytes]:
    return path.open("ab")


def bound_log(path: Path) -> None:
    """Keep at most two files of 4 MiB; the process appends, so its file may be cut while it writes."""
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        shutil.copyfile(path, path.with_suffix(".log.1"))
        os.truncate(path, 0)


def _processor_ticks(pid: int) -> int:
    """Give the processor time a process has used, in clock ticks; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
