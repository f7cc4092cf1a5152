"""What Open311 shows to everybody, from the public complaints alone; and finding a division in an address."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from domain.access import is_within
from domain.complaint_publication import PublicComplaint
from domain.open311 import Wanted
from domain.open311_views import CLOSED_STATES, OPEN_STATES
from domain.preferences import SHANGHAI
from domain.text import compact, fold
from loaders.catalogue_snapshot import CatalogueSnapshot
from loaders.public_complaint_shelves import PublicFilter
from loaders.public_complaints import PublicComplaints
from store.public_complaints import Change

_BATCH: Final = 50
_LEVELS: Final = 5


def newest(public: PublicComplaints, wanted: Wanted) -> Iterator[PublicComplaint]:
    """Give the public complaints that are wanted, newest publication first, read as they are taken."""
    states = {None: (None,), True: OPEN_STATES, False: CLOSED_STATES}[wanted.is_open]
    streams = [
        _stream(
            public,
            PublicFilter(
                division_code=wanted.division_code,
                class_code=code,
                state=state,
                first_day=wanted.start.astimezone(SHANGHAI).date(),
                last_day=wanted.end.astimezone(SHANGHAI).date(),
            ),
        )
        for code in wanted.service_codes or (None,)
        for state in states
    ]
    last = ""
    for _, _, shown in heapq.merge(*streams, key=lambda row: row[:2]):
        if shown.id != last:  # a class and its group may both be asked for
            yield shown
        last = shown.id


def _stream(public: PublicComplaints, wanted: PublicFilter) -> Iterator[tuple[int, str, PublicComplaint]]:
    before: int | None = None
    while True:
        hits = public.search("", wanted, _BATCH, before)
        for place, shown in hits.complaints:
            yield -place, shown.id, shown
            before = place
        if not hits.has_next:
            return


async def changes(public: PublicComplaints, start: datetime, end: datetime, first: int) -> list[Change]:
    """List what the public was newly shown from `start` to before `end`, oldest first."""
    found: dict[str, Change] = {}
    at = start
    while True:  # what is shown no longer may fill whole batches
        rows = await public.store.list_changes(at, end, first)
        found |= {change.id: change for change in rows if change.shown is not None}
        if len(found) >= first or len(rows) < first or rows[-1].changed_at == at:
            return list(found.values())[:first]
        at = rows[-1].changed_at


class DivisionFinder:
    """Finds the division that an address begins with, by full names from the highest on; guesses nothing."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._by_name: dict[str, list[str]] = {}
        self._longest = 0

    def find(self, snapshot: CatalogueSnapshot | None, address: str) -> str | None:
        """Give the lowest division that the beginning of an address names for certain."""
        if snapshot is None:
            return None
        if snapshot.version != self._version:
            self._read(snapshot)
        rest, found = compact(fold(address)), None
        for _ in range(_LEVELS):
            step = self._step(rest, found)
            if step is None:
                break
            found, rest = step
        return found

    def _step(self, rest: str, above: str | None) -> tuple[str, str] | None:
        for size in range(min(self._longest, len(rest)), 1, -1):
            codes = [
                code
                for code in self._by_name.get(rest[:size], ())
                if above is None or (code != above and is_within(code, above))
            ]
            if codes:
                return (codes[0], rest[size:]) if len(codes) == 1 else None
        return None

    def _read(self, snapshot: CatalogueSnapshot) -> None:
        self._by_name = {}
        for division in snapshot.tables.divisions:
            self._by_name.setdefault(compact(fold(division.name)), []).append(division.code)
        self._longest = max(map(len, self._by_name), default=0)
        self._version = snapshot.version
