"""What an import must remember to go on after it was killed: its load, its checkpoints, and who runs it.

`catalogue_loads` `_id` = feed: the load that runs or ran last. `catalogue_load_batches`: one per batch,
written after the batch's items, with the position reached, the counts so far and the rows seen.
"""

from __future__ import annotations

import os
import secrets
import socket
import zlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
from bson.binary import Binary
from msgspec import Struct
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from domain.errors import DomainError

_LEASE = timedelta(seconds=60)


class ImportRunningError(DomainError):
    """Another import of the same feed is running."""

    code = "IMPORT_RUNNING"


class SeenRow(Struct, frozen=True, array_like=True):
    """A row of the running load: the version that counts, and the themes of all its rows."""

    id: str
    version: int
    themes: tuple[str, ...] = ()
    pending: bool = False  # the stored themes differ and are settled at the end of the load
    gone: bool = False  # the row said that the item is withdrawn


class Checkpoint(Struct, frozen=True):
    """How far a load has come: `file` is an index, `position` a byte offset or a count of rows."""

    number: int
    file: int
    position: int
    line: int
    rejects_bytes: int
    counts: dict[str, int]


class Load(Struct, frozen=True):
    """One run over one source; `resumed` when it was begun by an import that did not finish."""

    id: str
    feed: str
    resumed: bool


class ImportStore:
    """Reads and writes the memory of imports."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._loads = database["catalogue_loads"]
        self._batches = database["catalogue_load_batches"]
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    async def begin(self, feed: str, fingerprint: str, *, now: datetime) -> Load:
        """Begin a load, or go on with the unfinished one of the same source.

        Raises: ImportRunningError.
        """
        await self._ensure_exists(feed)
        document = await self._loads.find_one({"_id": feed}) or {}
        until = document["lease_until"]
        if until > now and not _is_dead(document["owner"]):
            raise ImportRunningError(feed=feed, seconds=int((until - now).total_seconds()) + 1)
        resumed = not document["finished"] and document["fingerprint"] == fingerprint
        load = document["load"] if resumed else secrets.token_hex(8)
        change = {
            "load": load,
            "fingerprint": fingerprint,
            "finished": False,
            "owner": self._owner,
            "lease_until": now + _LEASE,
        }
        if not resumed:
            change["started_at"] = now
        taken = await self._loads.update_one({"_id": feed, "owner": document["owner"]}, {"$set": change})
        if not taken.matched_count:
            raise ImportRunningError(feed=feed, seconds=int(_LEASE.total_seconds()))
        if not resumed:
            await self._batches.delete_many({"feed": feed})
        return Load(load, feed, resumed)

    async def _ensure_exists(self, feed: str) -> None:
        past = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
        fresh = {"load": "", "fingerprint": "", "finished": True, "owner": "", "lease_until": past}
        try:
            await self._loads.insert_one({"_id": feed, **fresh})
        except DuplicateKeyError:
            return

    async def find_checkpoint(self, load: Load) -> Checkpoint | None:
        """Find the last checkpoint of a load."""
        document = await self._batches.find_one({"load": load.id}, {"seen": 0}, sort=[("number", -1)])
        return None if document is None else msgspec.convert(document, Checkpoint)

    async def iterate_seen(self, load: Load) -> AsyncIterator[list[SeenRow]]:
        """Stream the rows that a load has seen, batch by batch, oldest first."""
        cursor = self._batches.find({"load": load.id}, sort=[("number", ASCENDING)], batch_size=20)
        async with cursor:
            async for document in cursor:
                yield msgspec.msgpack.decode(zlib.decompress(document["seen"]), type=list[SeenRow])

    async def list_unfinished(self) -> list[str]:
        """List the feeds whose last load runs or was broken off: their items are neither old nor new."""
        return sorted([load["_id"] async for load in self._loads.find({"finished": False}, {"_id": 1})])

    async def save_checkpoint(
        self, load: Load, checkpoint: Checkpoint, seen: list[SeenRow], *, now: datetime
    ) -> None:
        """Save a checkpoint with the rows seen since the last one, and prolong the lease.

        Raises: ImportRunningError when another import has taken the feed over.
        """
        packed = Binary(zlib.compress(msgspec.msgpack.encode(seen), 1))
        document = {
            "_id": f"{load.id}:{checkpoint.number:08d}",
            "feed": load.feed,
            "load": load.id,
            **msgspec.to_builtins(checkpoint),
            "seen": packed,
        }
        await self._batches.replace_one({"_id": document["_id"]}, document, upsert=True)
        mine = {"_id": load.feed, "owner": self._owner}
        if not (await self._loads.update_one(mine, {"$set": {"lease_until": now + _LEASE}})).matched_count:
            raise ImportRunningError(feed=load.feed, seconds=int(_LEASE.total_seconds()))

    async def release(self, load: Load, *, now: datetime) -> None:
        """Give the feed free without finishing, so that the load can be gone on with at once."""
        await self._loads.update_one({"_id": load.feed, "owner": self._owner}, {"$set": {"lease_until": now}})

    async def finish(self, load: Load, report: dict[str, Any], *, now: datetime) -> None:
        """Mark a load as finished, keep its report, and forget its checkpoints."""
        change = {"finished": True, "finished_at": now, "lease_until": now, "report": report}
        await self._loads.update_one({"_id": load.feed, "owner": self._owner}, {"$set": change})
        await self._batches.delete_many({"feed": load.feed})


def _is_dead(owner: str) -> bool:
    """Tell whether the owner was a process of this machine that is gone."""
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return not owner
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
