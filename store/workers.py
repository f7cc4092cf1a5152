"""Who sends: `workers`, one document for each worker process, which says until when it counts as alive."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from store.keys import KEY_BATCH, chunks

LEASE: Final = timedelta(seconds=30)
_KEPT_S: Final = 86_400


class WorkerStore:
    """Reads and writes `workers`; `id` names this process: host, process id, a random part."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._workers = database["workers"]
        self.id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    async def ensure_indexes(self) -> None:
        """Make the indexes."""
        await self._workers.create_index(
            [("alive_until", ASCENDING)], name="alive_until", expireAfterSeconds=_KEPT_S
        )

    async def beat(self, *, now: datetime) -> None:
        """Say that this process is alive."""
        await self._workers.update_one({"_id": self.id}, {"$set": {"alive_until": now + LEASE}}, upsert=True)

    async def leave(self) -> None:
        """Say that this process holds nothing any more."""
        await self._workers.delete_one({"_id": self.id})

    async def list_dead(self, ids: Iterable[str], *, now: datetime, by_lease: bool) -> set[str]:
        """List the workers among these that are dead.

        Processes of this machine are looked for; others are dead when their lease has run out, which counts
        only where `by_lease`: after an outage of the store everybody's has.
        """
        dead: set[str] = set()
        unsure: list[str] = []
        for each in set(ids) - {self.id}:
            (dead.add if _is_gone(each) else unsure.append)(each)
        if by_lease:
            for some in chunks(unsure, KEY_BATCH):
                alive = {
                    found["_id"]
                    async for found in self._workers.find({"_id": {"$in": some}})
                    if found["alive_until"] > now
                }
                dead.update(set(some) - alive)
        return dead


def _is_gone(worker: str) -> bool:
    """Tell whether a worker was a process of this machine that is gone."""
    host, _, rest = worker.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        return True  # the same number in a container that was started anew
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
