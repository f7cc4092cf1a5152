"""From matched names to items: which are in use, near the citizen and within the filter; order; counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.catalogue import CATEGORIES
from loaders.catalogue_files import AUDIENCES, LEVELS, NO_DEPTH
from loaders.catalogue_match import NO_MATCH, Match
from loaders.catalogue_search import SearchFilter, Sort
from loaders.catalogue_tables import CatalogueTables

Items = NDArray[np.int64]
Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]

_RANK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_SAMPLE = 2_048
_SAMPLED_FROM = 8_192


class Range(NamedTuple):
    """Items low..high-1 of one division or of all below it; `distance` from the citizen, nearest 0."""

    low: int
    high: int
    distance: int


class Overlay(NamedTuple):
    """What changes between publishes: withdrawn items (sorted places) and sort keys with popularity."""

    withdrawn: Items
    alive: Mask | None
    keys: Keys


class ComboMasks(NamedTuple):
    """Which combinations of (category, level, audiences, depth) pass each part of a filter; None: all do."""

    category: Mask | None
    level: Mask | None
    audience: Mask | None
    depth: Mask | None

    def passing(self, without: int = -1) -> Mask | None:
        """Give the combinations that pass all parts but the one at an index."""
        mask: Mask | None = None
        for index, part in enumerate(self):
            if part is not None and index != without:
                mask = part if mask is None else mask & part
        return mask


class Selection(NamedTuple):
    """Items found, in their own order, and what the facets need.

    `before_combos` lacks the filter on combinations, `before_departments` the one on departments.
    """

    items: Items
    before_combos: Items
    before_departments: Items
    masks: ComboMasks
    division: int | None


def ranges_near(tables: CatalogueTables, division: int | None, *, below: bool = True) -> list[Range]:
    """Give the items a citizen of a division is offered: there, above it, and below it if wanted."""
    if division is None:
        return [Range(0, tables.item_count, 0)]
    found: list[Range] = []
    at, distance = division, 0
    while at >= 0:
        found.append(Range(*tables.range_of(at), distance))
        at, distance = tables.parents[at], distance + 1
    if below:
        found.append(Range(*tables.range_below(division), distance))
    return sorted(part for part in found if part.low < part.high)


def combo_masks(combos: NDArray[np.int32], wanted: SearchFilter) -> ComboMasks:
    """Turn a filter into masks over the few combinations that exist."""
    category = level = audience = depth = None
    if wanted.category_codes:
        codes = [index for index, known in enumerate(CATEGORIES) if known.code in wanted.category_codes]
        category = np.isin(combos[:, 0], codes)
    if wanted.levels:
        level = np.isin(combos[:, 1], [LEVELS.index(one) for one in wanted.levels])
    if wanted.audience is not None:
        audience = (combos[:, 2] & (1 << AUDIENCES.index(wanted.audience))) != 0
    if wanted.online_depth is not None:
        depth = (combos[:, 3] >= wanted.online_depth) & (combos[:, 3] != NO_DEPTH)
    return ComboMasks(category, level, audience, depth)


def items_of(
    tables: CatalogueTables, tiers: NDArray[np.uint8] | None, ranges: Sequence[Range], alive: Mask | None
) -> Items:
    """Give the places of matching items in use, ascending."""
    items = _arange(ranges) if tiers is None else _matching(tables, tiers, ranges)
    if alive is None:
        return items
    kept: Items = items[alive[items]]
    return kept


def _arange(ranges: Sequence[Range]) -> Items:
    parts = [np.arange(part.low, part.high) for part in ranges]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int64), *parts])


def _matching(tables: CatalogueTables, tiers: NDArray[np.uint8], ranges: Sequence[Range]) -> Items:
    matched = np.flatnonzero(tiers != NO_MATCH)
    starts, ends = tables.text_bounds[matched], tables.text_bounds[matched + 1]
    size = int((ends - starts).sum())
    if size * 6 >= sum(part.high - part.low for part in ranges):
        scanned = [
            np.flatnonzero(tiers[tables.item_text[part.low : part.high]] != NO_MATCH) + part.low
            for part in ranges
        ]
        return scanned[0] if len(scanned) == 1 else np.concatenate([np.zeros(0, np.int64), *scanned])
    items: Items = np.sort(tables.items_by_text[expand(starts, ends)]).astype(np.int64)
    if len(ranges) == 1 and ranges[0].low == 0 and ranges[0].high == tables.item_count:
        return items
    edges = np.asarray([edge for part in ranges for edge in (part.low, part.high)])
    near: Items = items[(np.searchsorted(edges, items, side="right") & 1) == 1]
    return near


def expand(starts: Items, ends: Items) -> Items:
    """Give all numbers of the ranges start..end-1, one range after the other."""
    sizes = ends - starts
    kept = sizes > 0
    starts, sizes = starts[kept], sizes[kept]
    if not len(starts):
        return np.zeros(0, np.int64)
    steps = np.ones(int(sizes.sum()), np.int64)
    steps[0] = starts[0]
    firsts = np.cumsum(sizes)[:-1]
    steps[firsts] = starts[1:] - (starts[:-1] + sizes[:-1] - 1)
    expanded: Items = np.cumsum(steps)
    return expanded


def select(
    tables: CatalogueTables,
    overlay: Overlay,
    match: Match,
    wanted: SearchFilter,
    division: int | None,
) -> Selection:
    """Find the items of a match within a filter; `division` is a number, it wins over the filter's code."""
    masks = combo_masks(tables.combos, wanted)
    items = items_of(tables, match.tiers, ranges_near(tables, division), overlay.alive)
    if match.departments is not None:
        named = np.zeros(int(tables.department_name.max(initial=0)) + 1, np.bool_)
        named[match.departments] = True
        items = items[named[tables.department_name[tables.item_department[items]]]]
    before_combos = before_departments = items
    passing = masks.passing()
    if wanted.department_ids:
        chosen = np.zeros(len(tables.department_ids), np.bool_)
        for department_id in wanted.department_ids:
            number = tables.find_department(department_id)
            if number is not None:
                chosen[number] = True
        before_combos = items[chosen[tables.item_department[items]]]
    selected = before_combos
    if passing is not None:
        selected = before_combos[passing[tables.item_combo[before_combos]]]
        before_departments = items[passing[tables.item_combo[items]]] if wanted.department_ids else selected
    return Selection(selected, before_combos, before_departments, masks, division)


def sort_keys(
    tables: CatalogueTables,
    overlay: Overlay,
    items: Items,
    sort: Sort,
    *,
    tiers: NDArray[np.uint8] | None = None,
    division: int | None = None,
) -> Keys:
    """Give every item's place in an order as one number, the best the least; no two are equal.

    From the top bit: RELEVANCE tier 8, distance 8, then as POPULARITY: popularity 16, rank 32; the others
    their value 32, rank 32. The rank orders by level, name, id.
    """
    everything = len(items) == tables.item_count
    keys = overlay.keys if everything else overlay.keys[items]
    if sort is Sort.POPULARITY:
        return keys
    if sort is Sort.RELEVANCE:
        if tiers is not None:
            keys = keys | (tiers[tables.item_text[items]].astype(np.uint64) << np.uint64(56))
        if division is not None:
            ranges = ranges_near(tables, division)
            edges = np.asarray([part.low for part in ranges])
            distances = np.asarray([part.distance for part in ranges], np.uint64) << np.uint64(48)
            keys = keys | distances[np.searchsorted(edges, items, side="right") - 1]
        return keys
    if sort is Sort.NAME:
        value = tables.text_name_order[tables.item_text[items]]
    elif sort is Sort.NEWEST:
        value = np.uint32(0xFFFFFFFF) - tables.item_updated[items]
    else:
        value = tables.item_days[items]
    return (value.astype(np.uint64) << _HALF) | (keys & _RANK)


def smallest(keys: Keys, count: int) -> Items:
    """Give the places of the least `count` keys, ascending by key.

    A threshold from a sample leaves few keys to be ordered; should it leave too few, all are.
    """
    size = len(keys)
    if size > _SAMPLED_FROM:
        sample = np.sort(keys[:: size // _SAMPLE])
        threshold = sample[min(len(sample) - 1, 8 + 2 * count * len(sample) // size)]
        places = np.flatnonzero(keys <= threshold)
        if len(places) >= count:
            kept = keys[places]
            if len(places) > 4 * count:
                near = np.argpartition(kept, count - 1)[:count]
                places, kept = places[near], kept[near]
            return places[np.argsort(kept)[:count]]
    if size > count:
        near = np.argpartition(keys, count - 1)[:count]
        return near[np.argsort(keys[near])]
    return np.argsort(keys)
