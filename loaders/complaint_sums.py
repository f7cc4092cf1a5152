"""The sums behind the statistics as a process serves them: from one file and memory alone.

The file holds what changes seldom, mapped into memory and shared by the processes of a machine; what has
changed since lies beside it in memory. When the store is away, what was there before goes on being served.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from msgspec import Struct
from numpy.typing import NDArray
from pymongo.errors import PyMongoError

from domain.complaint_statistics import OUTCOMES, SLOTS, Counts
from loaders.reference import ReferenceUnavailableError
from store.complaint_statistics import Counted, StatisticsStore
from store.complaint_sums import spread

log = structlog.get_logger(__name__)

_FORMAT: Final = 1
_HEAD: Final = 5
"""Numbers that a file begins with: format, generation, batch, instant in milliseconds, keys."""
_SAVED_EVERY: Final = timedelta(minutes=10)
_YEAR: Final = 12 * SLOTS


class Sums(Struct, frozen=True):
    """Packed sums, sorted by the hashes of their keys; those of place n are the bytes before `ends[n]`."""

    counted: Counted
    as_of: datetime
    keys: NDArray[np.uint64]
    ends: NDArray[np.int64]
    packed: NDArray[np.uint8]

    @classmethod
    def of(cls, counted: Counted, as_of: datetime, sums: Mapping[int, bytes]) -> Sums:
        """Lay sums out."""
        keys = sorted(sums)
        ends = np.cumsum([len(sums[key]) for key in keys], dtype=np.int64)
        packed = np.frombuffer(b"".join(sums[key] for key in keys), np.uint8)
        return cls(counted, as_of, np.array(keys, np.uint64), ends, packed)

    @classmethod
    def read(cls, path: Path) -> Sums | None:
        """Map a file into memory; None where there is none of this form."""
        try:
            content = np.memmap(path, np.uint8, "r").view(np.ndarray)
            form, generation, number, instant, count = content[: _HEAD * 8].view(np.int64).tolist()
        except (FileNotFoundError, ValueError):
            return None
        if form != _FORMAT:
            return None
        keys, ends, packed = np.split(content[_HEAD * 8 :], [count * 8, count * 16])
        as_of = datetime.fromtimestamp(instant / 1000, UTC)
        return cls(Counted(generation, number), as_of, keys.view(np.uint64), ends.view(np.int64), packed)

    def write(self, path: Path) -> None:
        """Put a file in the place of an older one at once; whoever has mapped that one keeps it."""
        instant = int(self.as_of.timestamp() * 1000)
        counted = [self.counted.generation, self.counted.number]
        head = np.array([_FORMAT, *counted, instant, len(self.keys)], np.int64)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            for each in (head, self.keys, self.ends, self.packed):
                each.tofile(file)
        part.replace(path)

    def find(self, key: int) -> bytes | None:
        """Give the packed sums of a key."""
        at = int(np.searchsorted(self.keys, np.uint64(key)))
        if at == len(self.keys) or int(self.keys[at]) != key:
            return None
        return self.packed[self.ends[at - 1] if at else 0 : self.ends[at]].tobytes()

    def all(self) -> dict[int, bytes]:
        """Give everything as it was laid out."""
        packed, starts = self.packed.tobytes(), [0, *self.ends.tolist()]
        return {
            key: packed[start:end]
            for key, start, end in zip(self.keys.tolist(), starts, starts[1:], strict=False)
        }


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ComplaintSums:
    """Holds the sums; `refresh` brings them to what the store has."""

    def __init__(
        self,
        store: StatisticsStore,
        directory: Path,
        *,
        poll: timedelta,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.store = store
        self._path = directory / "sums"
        self._poll_s = poll.total_seconds()
        self._clock = clock
        self._base: Sums | None = None
        self._since: dict[int, bytes] = {}
        self._counted = Counted(0, -1)
        self._as_of: datetime | None = None

    @property
    def as_of(self) -> datetime:
        """Tell when these sums were last what the store had.

        Raises: ReferenceUnavailableError before there are any sums.
        """
        if self._as_of is None:
            raise ReferenceUnavailableError(list="statistics")
        return self._as_of

    @property
    def held(self) -> int:
        """Count the bytes of the sums, most of which the processes of a machine share."""
        base = self._base
        size = 0 if base is None else base.keys.nbytes + base.ends.nbytes + base.packed.nbytes
        return size + sum(map(len, self._since.values()))

    def year(self, key: str) -> Counts:
        """Give the counts of one year in all their slots, month by month; none for what was never counted.

        Raises: ReferenceUnavailableError before there are any sums.
        """
        counts, hashed = np.zeros(_YEAR, np.int64), _hash(key)
        packed = self._since.get(hashed)
        base = self._base  # read last: it is put in place before what it holds is dropped from the other
        if base is None:
            raise ReferenceUnavailableError(list="statistics")
        spread(base.find(hashed) or b"" if packed is None else packed, counts)
        return counts

    async def open(self) -> None:
        """Serve what this disk has, so that a start needs no engine."""
        await asyncio.to_thread(self._open)

    async def refresh(self) -> int:
        """Bring the sums to what the store has; count those that have changed.

        Raises: PyMongoError when the store cannot be read; what was served before stays.
        """
        now, counted = self._clock(), await self.store.counted()
        goes_on = (
            self._base is not None
            and counted.generation == self._counted.generation
            and counted.number >= self._counted.number  # less: the store was put back
        )
        changed: dict[int, bytes] = {}
        if not goes_on or counted != self._counted:
            after = self._counted.number if goes_on else -1
            changed = await _by_hash(self.store.list_sums(counted.generation, after))
        if goes_on:
            self._since.update(changed)
        elif counted.generation == (await self.store.counted()).generation:
            self._base, self._since = await asyncio.to_thread(Sums.of, counted, now, changed), {}
        else:  # sums that were counted anew have taken their place, and they may have been read in part
            return await self.refresh()
        self._counted, self._as_of = counted, now
        await asyncio.to_thread(self._keep)
        return len(changed)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        reachable = True
        while True:
            try:
                await self.refresh()
            except PyMongoError as error:
                if reachable:
                    log.warning("complaint_sums.unconfirmed", error=type(error).__name__)
                reachable = False
            else:
                reachable = True
            await asyncio.sleep(self._poll_s)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        saved = Sums.read(self._path)
        if saved is not None:
            self._base, self._counted, self._as_of = saved, saved.counted, saved.as_of

    def _keep(self) -> None:
        """Write the file when it is old, or map what another process has written."""
        base, saved, as_of = self._base, Sums.read(self._path), self._as_of
        if base is None or as_of is None:
            return
        is_old = saved is None or saved.counted.generation < self._counted.generation
        if is_old or (saved and saved.counted != self._counted and as_of - saved.as_of >= _SAVED_EVERY):
            Sums.of(self._counted, as_of, base.all() | self._since).write(self._path)
            saved = Sums.read(self._path)
        if saved is None or saved.as_of == base.as_of or saved.counted.generation != self._counted.generation:
            return
        if saved.counted.number <= self._counted.number:
            self._base = saved
            self._since = {key: sums for key, sums in self._since.items() if saved.find(key) != sums}


async def _by_hash(sums: AsyncIterator[tuple[str, bytes]]) -> dict[int, bytes]:
    return {_hash(key): packed async for key, packed in sums if not key.startswith(OUTCOMES)}


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
