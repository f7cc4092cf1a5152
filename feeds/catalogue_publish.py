"""Publish the stored catalogue: build a snapshot aside, bring it into place at once, then tell readers."""

from __future__ import annotations

import asyncio
import fcntl
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.catalogue import Department, Division, Guide, LegalBasis, ServiceItem
from domain.errors import DomainError
from loaders.catalogue_build import build_snapshot
from store.catalogue import CatalogueStore, announce

_KEPT = 2
_FETCH = 2_000
# Clocks of machines differ: what was withdrawn shortly before the reading began counts as withdrawn later.
_CLOCK_SKEW = timedelta(minutes=2)
_NAME = re.compile(r"catalogue-(\d+)")


class PublicationRunningError(DomainError):
    """Another process of this installation is publishing."""

    code = "PUBLICATION_RUNNING"


@dataclass(frozen=True)
class _Shared:
    divisions: list[Division]
    departments: list[Department]
    legal_bases: list[LegalBasis]
    guides: list[tuple[str, Guide]]


async def publish_catalogue(
    store: CatalogueStore,
    redis: Redis,
    home: Path,
    *,
    now: datetime,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Publish what the store holds and give the new version.

    The snapshot is built under `<home>/snapshots`, saved for other machines, and named in the state last:
    until then, and whenever anything fails, readers stay with the version they have. `progress` gets the
    number of items.
    Raises: PublicationRunningError, store.catalogue.VersionConflictError when another machine was faster.
    """
    snapshots = home / "snapshots"
    with await asyncio.to_thread(_lock, snapshots):
        before = await store.get_state()
        version = before.version + 1
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f".build-{version}-", dir=snapshots))
        try:
            built = work / "snapshot"
            count = await _build(store, built, version, now, progress)
            await store.save_snapshot(version, built)
            directory = await asyncio.to_thread(_bring_into_place, built, snapshots / f"catalogue-{version}")
            try:
                state = await store.set_published(
                    version, count, now, read_from=now - _CLOCK_SKEW, changes=before.changes
                )
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
                raise
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        await asyncio.to_thread(_remove_old, snapshots, version)
    try:
        await announce(redis, state.revision)
    except RedisError:
        # It is published all the same: the message is a hint, readers poll the state.
        return version
    return version


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PublicationRunningError from error
        yield


def _lock(snapshots: Path) -> _Lock:
    return _Lock(snapshots / ".publish.lock")


class _Lock:
    """A file lock that is taken when made and given back on leaving."""

    def __init__(self, path: Path) -> None:
        self._context = _locked(path)
        self._context.__enter__()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        self._context.__exit__(None, None, None)


async def _build(
    store: CatalogueStore,
    directory: Path,
    version: int,
    now: datetime,
    progress: Callable[[int], None] | None,
) -> int:
    """Build in a thread, which fetches the items through this loop batch by batch."""
    shared = _Shared(
        await store.list_divisions(),
        await store.list_departments(),
        [basis async for basis in store.iterate_legal_bases()],
        [pair async for pair in store.iterate_guides()],
    )
    items = _LoopReader(store.iterate_items(), asyncio.get_running_loop())
    building = asyncio.create_task(
        asyncio.to_thread(
            build_snapshot,
            directory,
            version=version,
            built_at=now,
            divisions=shared.divisions,
            departments=shared.departments,
            legal_bases=shared.legal_bases,
            guides=shared.guides,
            items=items,
            progress=progress,
        )
    )
    try:
        manifest = await asyncio.shield(building)
    except asyncio.CancelledError:
        items.stop()
        await asyncio.gather(building, return_exceptions=True)
        raise
    return manifest.items


class _LoopReader:
    """Reads an asynchronous stream of the loop from another thread, batch by batch."""

    def __init__(self, values: AsyncIterator[ServiceItem], loop: asyncio.AbstractEventLoop) -> None:
        self._values = values
        self._loop = loop
        self._stopped = False
        self._fetching: asyncio.Task[Any] | None = None

    def stop(self) -> None:
        """End the reading with an error; to be called in the loop."""
        self._stopped = True
        if self._fetching is not None:
            self._fetching.cancel()

    def __iter__(self) -> Iterator[ServiceItem]:
        while not self._stopped:
            fetching = asyncio.run_coroutine_threadsafe(self._fetch(), self._loop)
            if not (batch := fetching.result()):
                return
            yield from batch
        raise InterruptedError("the publication was cancelled")

    async def _fetch(self) -> list[ServiceItem]:
        self._fetching = asyncio.current_task()
        batch: list[ServiceItem] = []
        if self._stopped:
            raise InterruptedError("the publication was cancelled")
        async for value in self._values:
            batch.append(value)
            if len(batch) == _FETCH:
                break
        return batch


def _bring_into_place(built: Path, directory: Path) -> Path:
    """Give a finished directory its name; what an earlier attempt left there was never published."""
    if directory.exists():
        directory.rename(built.parent / "earlier")
    built.rename(directory)
    return directory


def _remove_old(snapshots: Path, version: int) -> None:
    """Remove all but the newest two versions; whoever still maps their files keeps them until it lets go."""
    numbers = {int(match[1]): path for path in snapshots.iterdir() if (match := _NAME.fullmatch(path.name))}
    for number in sorted((each for each in numbers if each <= version), reverse=True)[_KEPT:]:
        shutil.rmtree(numbers[number], ignore_errors=True)
    for path in snapshots.glob(".build-*"):
        shutil.rmtree(path, ignore_errors=True)
