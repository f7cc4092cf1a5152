"""Engines for the tests: one embedded pair for the session, or the servers the environment names."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from store.connections import open_mongodb
from store.engines import EmbeddedEngines, HealthPolicy
from tests.turns import ByFile, in_order, turn

TURNS = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of this run where the lock of all is."""
    if TURNS not in node.config.stash:
        folder = tempfile.TemporaryDirectory(prefix="mintong-tests-")
        node.config.add_cleanup(folder.cleanup)
        node.config.stash[TURNS] = folder.name
    node.workerinput["turns"] = node.config.stash[TURNS]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    in_order(items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for the test's turn, before its time begins to count."""
    worker = getattr(item.config, "workerinput", None)
    if worker is None:
        return (yield)
    with turn(Path(worker["turns"]), alone=item.get_closest_marker("alone") is not None):
        return (yield)


@dataclass(frozen=True)
class RunningEngines:
    """A pair of embedded engines that runs in a thread of its own."""

    engines: EmbeddedEngines
    loop: asyncio.AbstractEventLoop

    @property
    def mongodb_uri(self) -> str:
        return self.engines.mongodb_uri

    @property
    def redis_url(self) -> str:
        return self.engines.redis_url


def run_engines(
    home: Path,
    stack: ExitStack,
    *,
    mongodb: bool = True,
    redis: bool = True,
    policy: HealthPolicy | None = None,
) -> RunningEngines:
    """Start engines whose supervisor lives in a background thread until `stack` is closed."""
    ready: Future[RunningEngines] = Future()
    stop = threading.Event()

    async def serve() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        waiter = threading.Thread(target=lambda: (stop.wait(), loop.call_soon_threadsafe(stopped.set)))
        try:
            async with EmbeddedEngines(home, mongodb=mongodb, redis=redis, policy=policy) as engines:
                waiter.start()
                ready.set_result(RunningEngines(engines, loop))
                await stopped.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            stop.set()
            if waiter.ident is not None:
                waiter.join()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name=f"engines in {home.name}")
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    stack.callback(end)
    return ready.result(timeout=90)


@pytest.fixture(scope="session")
def shared_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngines | None]:
    """The session's own pair, started only when a test needs it and the environment names no servers."""
    mongodb, redis = not os.environ.get("MONGODB_URI"), not os.environ.get("REDIS_URL")
    if not mongodb and not redis:
        yield None
        return
    # A busy machine must not look like a hanging engine to the rest of the suite.
    policy = HealthPolicy(timeout_s=30, failures=3)
    with ExitStack() as stack:
        home = tmp_path_factory.mktemp("engines")
        yield run_engines(home, stack, mongodb=mongodb, redis=redis, policy=policy)


@pytest.fixture(scope="session")
def mongodb_uri(request: pytest.FixtureRequest) -> str:
    """The address of a MongoDB for the whole session; use `database_name` for a database of your own."""
    given = os.environ.get("MONGODB_URI")
    return given or request.getfixturevalue("shared_engines").mongodb_uri


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """The address of a Redis for the whole session; use keys of your own."""
    given = os.environ.get("REDIS_URL")
    return given or request.getfixturevalue("shared_engines").redis_url


def fresh_database(mongodb_uri: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(8)}"
    yield name

    async def drop() -> None:
        async with open_mongodb(mongodb_uri, 60_000) as client:
            await client.drop_database(name)

    asyncio.run(drop())


@pytest.fixture
def database_name(mongodb_uri: str) -> Iterator[str]:
    """The name of a fresh database, dropped afterwards."""
    yield from fresh_database(mongodb_uri)


@pytest.fixture(scope="module")
def module_database(mongodb_uri: str) -> Iterator[str]:
    """The name of a fresh database for all tests of a file, dropped afterwards."""
    yield from fresh_database(mongodb_uri)


@pytest.fixture
def engines_factory(tmp_path: Path) -> Iterator[Callable[..., RunningEngines]]:
    """A function that starts a private pair of engines, which a test may stop, kill or starve."""
    with ExitStack() as stack:
        count = 0

        def start(*, policy: HealthPolicy | None = None, home: Path | None = None) -> RunningEngines:
            nonlocal count
            count += 1
            return run_engines(home or tmp_path / f"engines-{count}", stack, policy=policy)

        yield start
