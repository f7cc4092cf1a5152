"""The public complaints that a process serves: searched, on the map, from files and memory alone.

A process follows the changes in the store. When the store is away, what was there before goes on being
served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from msgspec import Struct
from pymongo.errors import PyMongoError

from domain.complaint_publication import PublicComplaint
from domain.complaints import Kind, Point
from domain.errors import DomainError
from loaders.catalogue_search import check_first, check_text
from loaders.complaint_grid import PARTS, Cell, Grid, facet_of, row_of
from loaders.public_complaint_shelves import Hits, PublicFilter, Shelves
from store.keys import chunks
from store.public_complaints import Change, PublicComplaintStore

log = structlog.get_logger(__name__)

_BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Before this product was first installed."""
_OVERLAP: Final = timedelta(minutes=2)
"""So far back is read once more: machines' clocks differ, and a write takes a while."""
_MAX_SPAN: Final = timedelta(days=1)
_MIN_SPAN: Final = timedelta(seconds=1)
_MANY: Final = 5_000
_FORMAT: Final = 1
_MAP: Final = "map.npz"
_SAVED_EVERY: Final = timedelta(minutes=10)


class InvalidBoundsError(DomainError):
    """The bounds of a map are not in order."""

    code = "INVALID_BOUNDS"


class MapFilter(Struct, frozen=True):
    """What complaints on the map must be; parts that are None do not restrict.

    `group`: two digits of a group of classes. `is_open`: without an answer yet.
    """

    group: str | None = None
    kind: Kind | None = None
    is_open: bool | None = None


class _Follow(Struct):
    """How far the changes have been read, and the span to read next."""

    seen: datetime
    span: timedelta = _MAX_SPAN
    recent: dict[str, Change] = {}


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PublicComplaints:
    """Holds the search and the map; `refresh` brings them to what the store has."""

    def __init__(
        self,
        store: PublicComplaintStore,
        directory: Path,
        *,
        poll: timedelta,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.store = store
        self._directory = directory
        self._poll_s = poll.total_seconds()
        self._clock = clock
        self._shelves = Shelves(directory)
        self.grid = Grid()
        self._grid_seen: datetime | None = None
        self._follow: _Follow | None = None
        self._saved_at = _BEGINNING

    def search(self, text: str, wanted: PublicFilter, first: int, before: int | None = None) -> Hits:
        """List public complaints, newest publication first, behind a place.

        Raises: TextTooLongError, InvalidPageSizeError.
        """
        check_text(text)
        check_first(first)
        return self._shelves.search(text, wanted, first, before)

    def clusters(self, south_west: Point, north_east: Point, zoom: int, wanted: MapFilter) -> list[Cell]:
        """List the cells of a view that have complaints, the fullest first, at most 500; WGS-84.

        Raises: InvalidBoundsError.
        """
        if south_west.longitude > north_east.longitude or south_west.latitude > north_east.latitude:
            raise InvalidBoundsError(field="bounds")
        facet = facet_of(wanted.group, wanted.kind, wanted.is_open)
        return self.grid.view(south_west, north_east, zoom, facet)

    async def find(self, public_id: str) -> PublicComplaint | None:
        """Find one public complaint, as the store has it now."""
        return await self.store.find(public_id)

    @property
    def located(self) -> int:
        """Count the complaints on the map."""
        return len(self.grid)

    async def open(self) -> None:
        """Serve what this disk has, so that a start needs no engine."""
        await asyncio.to_thread(self._open)

    async def refresh(self) -> int:
        """Bring the search and the map to what the store has; count the changes.

        Raises: PyMongoError when the store cannot be read; what was served before stays.
        """
        wrote = self._shelves.may_write
        await asyncio.to_thread(self._shelves.open)
        follow = self._follow
        if follow is None or self._shelves.may_write != wrote:  # whoever wrote before may have been behind
            follow = self._follow = _Follow(self._begin_at())
        until = max(self._clock() + _MIN_SPAN, follow.seen)
        count = await self._read_on(follow, until)
        while follow.seen < until:
            count += await self._read_on(follow, until)
        if self._clock() - self._saved_at >= _SAVED_EVERY:
            await asyncio.to_thread(self._save)
        return count

    async def _read_on(self, follow: _Follow, until: datetime) -> int:
        """Read the changes of one more span and bring them in; count those that are new."""
        end = min(follow.seen + follow.span, until)
        changes = await self.store.list_changes(follow.seen - _OVERLAP, end)
        fresh = [each for each in changes if follow.recent.get(each.id) != each]
        if fresh or end == until:
            await asyncio.to_thread(self._take, fresh, end)
        follow.recent = {each.id: each for each in changes if each.changed_at >= end - _OVERLAP}
        follow.seen, follow.span = end, _next_span(follow.span, len(changes))
        return len(fresh)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        reachable = True
        try:
            while True:
                try:
                    await self.refresh()
                except PyMongoError as error:
                    if reachable:
                        log.warning("public_complaints.unconfirmed", error=type(error).__name__)
                    reachable = False
                else:
                    reachable = True
                await asyncio.sleep(self._poll_s)
        finally:
            self.close()

    def close(self) -> None:
        """Keep what was read for the next start and let another process write."""
        if self._follow is not None:
            self._save()
        self._shelves.close()

    def _begin_at(self) -> datetime:
        """Give the instant before which nothing is missing, in the map and, for the writer, in the files."""
        saved = [self._follow.seen if self._follow else self._grid_seen]
        if self._shelves.may_write:
            saved.append(self._shelves.seen)
        known = [each for each in saved if each is not None]
        return min(known) if len(known) == len(saved) else _BEGINNING

    def _open(self) -> None:
        self._shelves.open()
        path = self._directory / _MAP
        if path.exists():
            with np.load(path) as saved:
                if int(saved["format"]) == _FORMAT:
                    self.grid = Grid({name: saved[name] for name in PARTS})
                    self._grid_seen = datetime.fromtimestamp(float(saved["seen"]), UTC)

    def _take(self, changes: list[Change], end: datetime) -> None:
        if self._shelves.may_write:
            self._shelves.write(changes, end)
        for some in chunks(changes, _MANY):
            self.grid = self.grid.with_rows([row_of(each.id, each.shown) for each in some])

    def _save(self) -> None:
        """Write the map down; only the process that writes the files does."""
        follow = self._follow
        if follow is None or not self._shelves.may_write:
            return
        temporary = self._directory / f"part-{_MAP}"
        saved: dict[str, Any] = {"format": _FORMAT, "seen": follow.seen.timestamp(), **self.grid.parts}
        np.savez(temporary, **saved)
        temporary.replace(self._directory / _MAP)
        self._saved_at = self._clock()


def _next_span(span: timedelta, found: int) -> timedelta:
    """Read more at once where little has changed, and less where much has."""
    if found > _MANY:
        return max(span / 2, _MIN_SPAN)
    return min(span * 2, _MAX_SPAN)
