"""Public complaints on the map: counts in the cells of several grids, kept up to date by differences.

Counts are held for every combination of group, kind and being open, each also left out, so that a filter is
one look-up: a view costs what its cells cost, however many complaints lie in them. Immutable: a change makes
a new grid that shares what it can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from domain.complaint_publication import PublicComplaint, PublicState
from domain.complaints import Kind, Point

SIDES: Final = (640, 160, 40, 10, 2)
"""Sides of the cells of each grid, in thousandths of a degree."""
_ZOOMS: Final = (7, 9, 11, 13)
"""The last zoom of a web map at which each grid but the finest is shown."""
MAX_CELLS: Final = 500
"""Cells of one view, those with the most complaints."""
_VIEW_CELLS: Final = 10_000
_THOUSAND: Final = 1_000
_KINDS: Final = tuple(Kind)
_OPEN: Final = (PublicState.RECEIVED, PublicState.IN_PROGRESS)
_NO_GROUP: Final = 127
_AXIS_BITS: Final = 18
_FACET_BITS: Final = 12
PARTS: Final = ("keys", "places", "facets", "cells", "counts")
"""What a grid consists of, to be kept and made again."""
Ints = NDArray[np.int64]


class Cell(Struct, frozen=True):
    """A cell and what lies in it; `point` is its middle, WGS-84; `side` in degrees."""

    point: Point
    side: float
    count: int


class Row(Struct, frozen=True):
    """One complaint on the map; None as `place`: it is not, or no longer, there."""

    key: int
    place: int | None
    facet: int


def row_of(public_id: str, shown: PublicComplaint | None) -> Row:
    """Give what the map needs of a complaint."""
    digest = hashlib.blake2b(public_id.encode(), digest_size=8).digest()
    key = int.from_bytes(digest, "big") >> 1  # positive
    if shown is None or shown.point is None:
        return Row(key, None, 0)
    x = round((shown.point.longitude + 180) * _THOUSAND)
    y = round((shown.point.latitude + 90) * _THOUSAND)
    facet = facet_of(shown.class_code[:2] if shown.class_code else None, shown.kind, shown.state in _OPEN)
    # Without a group it must not look as if every group were meant.
    return Row(key, y << 19 | x, facet if facet >> 5 else facet | _NO_GROUP << 5)


def facet_of(group: str | None, kind: Kind | None, is_open: bool | None) -> int:
    """Pack a filter, or what a complaint is; 0 in each part stands for everything."""
    by_group = int(group) + 1 if group is not None and group.isdigit() and len(group) == 2 else 0
    by_kind = _KINDS.index(kind) + 1 if kind is not None else 0
    return by_group << 5 | by_kind << 2 | (0 if is_open is None else 1 + is_open)


_MASKS: Final = tuple(
    (127 << 5) * group | (7 << 2) * kind | 3 * is_open for group, kind, is_open in product((0, 1), repeat=3)
)


class Grid:
    """The rows, sorted by key, and the counts, sorted by grid, filter, line and column."""

    def __init__(self, parts: Mapping[str, Ints] | None = None) -> None:
        self.parts = {name: np.empty(0, np.int64) if parts is None else parts[name] for name in PARTS}
        self._keys, self._places, self._facets = (self.parts[name] for name in PARTS[:3])
        self._cells, self._counts = (self.parts[name] for name in PARTS[3:])

    def __len__(self) -> int:
        return len(self._keys)

    def with_rows(self, rows: Sequence[Row]) -> Grid:
        """Give the grid as it is after some complaints have changed; of several of one the last counts."""
        latest = {row.key: row for row in rows}
        keys = np.array(sorted(latest), np.int64)
        old = np.isin(self._keys, keys, assume_unique=True)
        new = [latest[key] for key in keys.tolist() if latest[key].place is not None]
        new_rows = tuple(
            np.array(values, np.int64)
            for values in (
                [row.key for row in new],
                [row.place for row in new],
                [row.facet for row in new],
            )
        )
        at = np.searchsorted(kept := self._keys[~old], new_rows[0])
        gone = _cells_of(self._places[old], self._facets[old])
        come = _cells_of(new_rows[1], new_rows[2])
        signs = np.concatenate([np.full(len(gone), -1, np.int64), np.ones(len(come), np.int64)])
        changed, by = _sum(np.concatenate([gone, come]), signs)
        cells, counts = _merge(self._cells, self._counts, changed, by)
        return Grid(
            {
                "keys": np.insert(kept, at, new_rows[0]),
                "places": np.insert(self._places[~old], at, new_rows[1]),
                "facets": np.insert(self._facets[~old], at, new_rows[2]),
                "cells": cells,
                "counts": counts,
            }
        )

    def view(self, south_west: Point, north_east: Point, zoom: int, facet: int = 0) -> list[Cell]:
        """List the cells of a view that have complaints, the fullest first, at most 500.

        Bounds in WGS-84; a bound may cut a cell, which then counts whole. Where a view would have too many
        cells for its zoom a coarser grid is taken.
        """
        west, south = _thousandths(south_west)
        east, north = _thousandths(north_east)
        level = next((at for at, last in enumerate(_ZOOMS) if zoom <= last), len(SIDES) - 1)
        while level and (_span(west, east, level) * _span(south, north, level)) > _VIEW_CELLS:
            level -= 1
        side = SIDES[level]
        lines = np.arange(south // side, north // side + 1, dtype=np.int64)
        starts = _pack(level, facet, lines, west // side)
        ends = _pack(level, facet, lines, east // side)
        firsts = np.searchsorted(self._cells, starts, "left")
        lasts = np.searchsorted(self._cells, ends, "right")
        places = [np.arange(a, b) for a, b in zip(firsts, lasts, strict=True) if b > a]
        if not places:
            return []
        at = np.concatenate(places)
        at = at[np.argsort(-self._counts[at], kind="stable")[:MAX_CELLS]]
        mask = (1 << _AXIS_BITS) - 1
        return [
            Cell(_middle(cell & mask, cell >> _AXIS_BITS & mask, side), side / _THOUSAND, count)
            for cell, count in zip(self._cells[at].tolist(), self._counts[at].tolist(), strict=True)
        ]


def _middle(column: int, line: int, side: int) -> Point:
    longitude = min((column + 0.5) * side / _THOUSAND - 180, 180.0)
    return Point(round(longitude, 6), round(min((line + 0.5) * side / _THOUSAND - 90, 90.0), 6))


def _thousandths(point: Point) -> tuple[int, int]:
    return int((point.longitude + 180) * _THOUSAND), int((point.latitude + 90) * _THOUSAND)


def _span(first: int, last: int, level: int) -> int:
    return last // SIDES[level] - first // SIDES[level] + 1


def _pack(level: int, facet: int | Ints, line: Ints, column: int | Ints) -> Ints:
    high = np.int64(level) << _FACET_BITS | np.asarray(facet, np.int64)
    return (high << _AXIS_BITS | line) << _AXIS_BITS | np.asarray(column, np.int64)


def _cells_of(places: Ints, facets: Ints) -> Ints:
    """Give all cells in which complaints count, of every grid and every filter that lets them through."""
    y, x = places >> 19, places & (1 << 19) - 1
    parts = [
        _pack(level, facets & mask, y // side, x // side)
        for level, side in enumerate(SIDES)
        for mask in _MASKS
    ]
    return np.concatenate(parts)


def _sum(cells: Ints, by: Ints) -> tuple[Ints, Ints]:
    """Sort cells and add up by how much each changes."""
    found, places = np.unique(cells, return_inverse=True)
    counts = np.zeros(len(found), np.int64)
    np.add.at(counts, places, by)
    return found, counts


def _merge(cells: Ints, counts: Ints, changed: Ints, by: Ints) -> tuple[Ints, Ints]:
    at = np.searchsorted(cells, changed)
    known = np.zeros(len(changed), np.bool_)
    inside = at < len(cells)
    known[inside] = cells[at[inside]] == changed[inside]
    counts = counts.copy()
    counts[at[known]] += by[known]
    cells = np.insert(cells, at[~known], changed[~known])
    counts = np.insert(counts, at[~known], by[~known])
    if (counts == 0).any():
        cells, counts = cells[counts != 0], counts[counts != 0]
    return cells, counts
