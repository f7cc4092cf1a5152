"""Counts complaints without end, until it is killed: `counting_worker.py URI DATABASE HOME`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from domain.working_days import calendar_of
from operations.complaint_statistics import Counting, count_marked
from store.complaint_numbers import ComplaintNumbers
from store.complaint_statistics import StatisticsStore
from store.complaints import ComplaintStore
from store.connections import open_mongodb
from store.encryption import FieldCipher, local_kms


async def main(uri: str, database: str, home: Path) -> None:
    async with open_mongodb(uri, 30_000) as mongodb:
        own = mongodb[database]
        cipher = FieldCipher(mongodb, database, local_kms(home / "personal.key", may_create=False))
        counting = Counting(
            StatisticsStore(own), ComplaintStore(own, cipher), ComplaintNumbers(own), calendar_of()
        )
        print("ready", flush=True)
        while True:
            if not await count_marked(counting):
                await asyncio.sleep(0.01)


asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
