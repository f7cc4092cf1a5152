"""The catalogue as API processes read it: an immutable, memory-mapped snapshot with search and details."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

from domain.catalogue import AUDIENCE_BY_NAME, CATEGORIES
from loaders.catalogue_build import DuplicateItemError, build_snapshot, quantise
from loaders.catalogue_files import (
    AUDIENCES,
    LEVELS,
    NO_DEPTH,
    Manifest,
    SnapshotUnreadableError,
)
from loaders.catalogue_match import NO_MATCH, DivisionNames, NameMatcher
from loaders.catalogue_search import (
    FacetCount,
    Facets,
    InvalidCursorError,
    InvalidPageSizeError,
    PageInfo,
    SearchFilter,
    SearchHit,
    SearchPage,
    SearchQuery,
    Sort,
    Suggestion,
    TextRange,
    TextTooLongError,
    UnknownDivisionError,
    check_first,
    check_query,
    check_text,
    decode_cursor,
    highlights,
)
from loaders.catalogue_select import (
    Items,
    Keys,
    Overlay,
    Selection,
    combo_masks,
    expand,
    items_of,
    ranges_near,
    select,
    smallest,
    sort_keys,
)
from loaders.catalogue_tables import CatalogueTables
from loaders.catalogue_views import CategoryView, DepartmentView, DivisionView, ItemView, LegalBasisView

__all__ = [
    "CatalogueSnapshot",
    "CategoryView",
    "DepartmentView",
    "DivisionView",
    "DuplicateItemError",
    "FacetCount",
    "Facets",
    "InvalidCursorError",
    "InvalidPageSizeError",
    "ItemView",
    "LegalBasisView",
    "Manifest",
    "PageInfo",
    "SearchFilter",
    "SearchHit",
    "SearchPage",
    "SearchQuery",
    "SnapshotUnreadableError",
    "Sort",
    "Suggestion",
    "TextRange",
    "TextTooLongError",
    "UnknownDivisionError",
    "build_snapshot",
]

_LEVEL_LABELS = dict(zip(LEVELS, ("国家级", "省级", "市级", "县级", "乡镇级", "村级"), strict=True))
_AUDIENCE_LABELS = {audience: name for name, audience in AUDIENCE_BY_NAME.items()}
_DEPTH_LABELS = ("不可网办", "Ⅰ级", "Ⅱ级", "Ⅲ级", "Ⅳ级")
_TOP_DEPARTMENTS = 20
# A view of an item says something about the same service elsewhere, though less.
_SHARE_OF_SAME_NAME = 0.1
_MOST_LISTS = 4_096


class CatalogueSnapshot:
    """One version of the catalogue; never changes, so any number of readers may use it at once."""

    def __init__(self, tables: CatalogueTables) -> None:
        self.tables = tables
        self.version = tables.manifest.version
        self.built_at: datetime = tables.manifest.built_at
        self.revision = 0
        self._division_names = DivisionNames(tables.divisions, tables.parents)
        self._matcher = NameMatcher(tables.directory, tables.manifest.names, self._division_names)
        self._set_overlay(Overlay(np.zeros(0, np.int64), None, tables.item_key), tables.text_prior)

    @classmethod
    def open(cls, directory: Path) -> CatalogueSnapshot:
        """Open a finished snapshot directory.

        Raises: SnapshotUnreadableError.
        """
        return cls(CatalogueTables(directory))

    def with_overlay(
        self, *, revision: int, withdrawn: frozenset[str], popularity: Mapping[str, float]
    ) -> CatalogueSnapshot:
        """Give a snapshot of the same version without withdrawn items and with views counted.

        Both replace what an earlier overlay said. `popularity` is a score (0 or more) by item id; unknown
        ids are passed over. Arrays are shared, this snapshot stays as it is.
        """
        tables = self.tables
        places = sorted({item for key in withdrawn if (item := tables.find_item(key)) is not None})
        gone = np.asarray(places, np.int64)
        alive = None
        if len(gone):
            alive = np.ones(tables.item_count, np.bool_)
            alive[gone] = False
        keys, text_scores = self._with_popularity(popularity)
        changed = copy.copy(self)
        changed.revision = revision
        # Whatever was cached belongs to the old overlay.
        for name in ("categories", "divisions", "departments", "_department_counts"):
            changed.__dict__.pop(name, None)
        changed._set_overlay(Overlay(gone, alive, keys), text_scores)
        return changed

    def _with_popularity(self, popularity: Mapping[str, float]) -> tuple[Keys, NDArray[np.float64]]:
        tables = self.tables
        viewed = {item: max(0.0, score) for key, score in popularity.items()
                  if (item := tables.find_item(key)) is not None}  # fmt: skip
        if not viewed:
            return tables.item_key, tables.text_prior
        items = np.fromiter(viewed, np.int64, len(viewed))
        scores = np.fromiter(viewed.values(), np.float64, len(viewed))
        text_scores = tables.text_prior.copy()
        np.add.at(text_scores, tables.item_text[items], scores * _SHARE_OF_SAME_NAME)
        texts = np.unique(tables.item_text[items])
        same = tables.items_by_text[expand(tables.text_bounds[texts], tables.text_bounds[texts + 1])]
        own = np.zeros(tables.item_count, np.float64)
        own[items] = scores
        keys = tables.item_key.copy()
        popular = quantise(text_scores[tables.item_text[same]] + own[same])
        keys[same] = (keys[same] & np.uint64(0xFFFFFFFF)) | (popular << np.uint64(32))
        return keys, text_scores

    def _set_overlay(self, overlay: Overlay, text_scores: NDArray[np.float64]) -> None:
        self._overlay = overlay
        self._text_scores = text_scores
        self._lists: dict[tuple[object, ...], list[int]] = {}
        self._departments_seen: dict[int, DepartmentView] = {}
        self.item_count = self.tables.item_count - len(overlay.withdrawn)

    # Items

    def item(self, item_id: str) -> ItemView | None:
        """Find an item in use by its id."""
        place = self.tables.find_item(item_id)
        if place is None or (self._overlay.alive is not None and not self._overlay.alive[place]):
            return None
        return ItemView(self, place)

    def items(self, item_ids: Iterable[str]) -> list[ItemView | None]:
        """Find items by id, in the order of the ids, None where there is none in use."""
        return [self.item(item_id) for item_id in item_ids]

    # Places and categories

    @cached_property
    def categories(self) -> tuple[CategoryView, ...]:
        """The 21 categories in order."""
        counts = np.zeros(len(CATEGORIES), np.int64)
        per_combo = np.bincount(self.tables.item_combo, minlength=len(self.tables.combos))
        gone = self.tables.item_combo[self._overlay.withdrawn]
        per_combo = per_combo - np.bincount(gone, minlength=len(per_combo))
        np.add.at(counts, self.tables.combos[:, 0], per_combo)
        return tuple(
            CategoryView.of(known, count) for known, count in zip(CATEGORIES, counts.tolist(), strict=True)
        )

    def category(self, code: str) -> CategoryView | None:
        """Find a category by its code."""
        return next((category for category in self.categories if category.code == code), None)

    def category_of(self, item: int) -> CategoryView:
        """Give the category of the item at a place."""
        return self.categories[int(self.tables.combos[self.tables.item_combo[item], 0])]

    @cached_property
    def divisions(self) -> tuple[DivisionView, ...]:
        """All divisions, each before those below it."""
        bounds = self.tables.division_bounds
        gone = np.searchsorted(self._overlay.withdrawn, bounds)
        counts = np.diff(bounds) - np.diff(gone)
        return tuple(
            DivisionView.of(self, index, division, count)
            for index, (division, count) in enumerate(
                zip(self.tables.divisions, counts.tolist(), strict=True)
            )
        )

    def division(self, code: str) -> DivisionView | None:
        """Find a division by its code in the house's form."""
        index = self.tables.division_index.get(code)
        return None if index is None else self.divisions[index]

    @property
    def roots(self) -> list[DivisionView]:
        """List the divisions that have no parent here, ordered by code."""
        return [self.divisions[index] for index in self.tables.roots]

    def parent_of(self, division: DivisionView) -> DivisionView | None:
        """Give the division one level up."""
        parent = self.tables.parents[division.index]
        return self.divisions[parent] if parent >= 0 else None

    def children_of(self, division: DivisionView) -> list[DivisionView]:
        """Give the divisions one level down, ordered by code."""
        return [self.divisions[index] for index in self.tables.children[division.index]]

    def division_of(self, item: int) -> DivisionView:
        """Give the division of the item at a place."""
        return self.divisions[self.tables.division_of(item)]

    @cached_property
    def _department_counts(self) -> list[int]:
        size = len(self.tables.department_ids)
        counts = np.bincount(self.tables.item_department, minlength=size)
        gone = np.bincount(self.tables.item_department[self._overlay.withdrawn], minlength=size)
        counted: list[int] = (counts - gone).tolist()
        return counted

    @cached_property
    def departments(self) -> tuple[DepartmentView, ...]:
        """All departments, ordered by id."""
        return tuple(self._department(index) for index in range(len(self.tables.department_ids)))

    def department(self, department_id: str) -> DepartmentView | None:
        """Find a department by its id."""
        index = self.tables.find_department(department_id)
        return None if index is None else self._department(index)

    def legal_basis(self, basis_id: str) -> LegalBasisView | None:
        """Find a cited article by its id."""
        found = self.tables.legal_bases_of((basis_id,))
        return LegalBasisView(found[0]) if found else None

    def department_of(self, item: int) -> DepartmentView:
        """Give the department of the item at a place."""
        return self._department(int(self.tables.item_department[item]))

    def _department(self, index: int) -> DepartmentView:
        view = self._departments_seen.get(index)
        if view is None:
            department = self.tables.department(index)
            division = self.divisions[self.tables.division_index[department.division_code]]
            view = DepartmentView.of(index, department, division, self._department_counts[index])
            self._departments_seen[index] = view
        return view

    # Search

    def search(self, query: SearchQuery) -> SearchPage:
        """Find items by text and filter; the page starts behind `after`.

        Raises: InvalidPageSizeError, TextTooLongError, InvalidCursorError, UnknownDivisionError.
        """
        check_query(query)
        near = self._division_number(query.filter.division_code)
        match = self._matcher.match(query.text, near)
        division = near if match.division is None else match.division
        selection = select(self.tables, self._overlay, match, query.filter, division)
        keys = sort_keys(
            self.tables, self._overlay, selection.items, query.sort, tiers=match.tiers, division=division
        )
        items = selection.items
        if query.after is not None:
            behind = keys > self._key_after(query.after, query.sort)
            items, keys = items[behind], keys[behind]
        page = smallest(keys, query.first)
        edges = [
            SearchHit(ItemView(self, item), key, query.sort, match)
            for item, key in zip(items[page].tolist(), keys[page].tolist(), strict=True)
        ]
        return SearchPage(self, query, selection, edges, len(items) > len(edges))

    def _division_number(self, code: str | None) -> int | None:
        if code is None:
            return None
        number = self.tables.division_index.get(code)
        if number is None:
            raise UnknownDivisionError(code=code[:20])
        return number

    def _key_after(self, cursor: str, sort: Sort) -> np.uint64:
        """Bring a cursor's key to this version, where the item it names may have another rank."""
        key, item_id = decode_cursor(cursor, sort)
        place = self.tables.find_item(item_id)
        if place is None:
            return np.uint64(key)
        if sort is Sort.NAME:
            return np.uint64(sort_keys(self.tables, self._overlay, np.asarray([place]), sort)[0])
        rank = int(self.tables.item_key[place]) & 0xFFFFFFFF
        return np.uint64(key >> 32 << 32 | rank)

    def facets_of(self, selection: Selection) -> Facets:
        """Count a selection by category, level, division, department, audience and online depth."""
        tables = self.tables
        combos = tables.combos
        everything = len(selection.before_combos) == tables.item_count
        per_item = tables.item_combo if everything else tables.item_combo[selection.before_combos]
        counts = np.bincount(per_item, minlength=len(combos))

        def grouped(part: int, size: int) -> list[int]:
            passing = selection.masks.passing(without=part)
            kept = counts if passing is None else counts * passing
            totals: list[int] = np.bincount(combos[:, part], kept, size).astype(np.int64).tolist()
            return totals

        by_audience = selection.masks.passing(without=2)
        audience_counts = counts if by_audience is None else counts * by_audience
        served = (audience_counts @ tables.combo_audiences).tolist()
        depths = grouped(3, NO_DEPTH + 1)
        return Facets(
            categories=[
                FacetCount(known.code, known.name, count)
                for known, count in zip(CATEGORIES, grouped(0, len(CATEGORIES)), strict=True)
                if count
            ],
            levels=[
                FacetCount(level.value, _LEVEL_LABELS[level], count)
                for level, count in zip(LEVELS, grouped(1, len(LEVELS)), strict=True)
                if count
            ],
            divisions=self._division_counts(selection),
            departments=self._top_departments(selection.before_departments),
            audiences=[
                FacetCount(audience.value, _AUDIENCE_LABELS[audience], count)
                for bit, audience in enumerate(AUDIENCES)
                if (count := served[bit])
            ],
            online_depths=[
                FacetCount(str(depth), label, depths[depth])
                for depth, label in enumerate(_DEPTH_LABELS)
                if depths[depth]
            ],
        )

    def _division_counts(self, selection: Selection) -> list[FacetCount]:
        tables = self.tables
        if selection.division is not None:
            shown = tables.children[selection.division]
        else:
            shown = tables.children[tables.roots[0]] if len(tables.roots) == 1 else tables.roots
        edges = [
            edge
            for index in shown
            for edge in (tables.division_bounds[index], tables.division_bounds[tables.subtree_end[index]])
        ]
        # Items are in the order of divisions, so whatever lies below one is a slice.
        cuts = np.searchsorted(selection.items, np.asarray(edges, np.int64)).tolist()
        return [
            FacetCount(tables.divisions[index].code, tables.divisions[index].name, high - low)
            for index, low, high in zip(shown, cuts[::2], cuts[1::2], strict=True)
            if high > low
        ]

    def _top_departments(self, items: Items) -> list[FacetCount]:
        tables = self.tables
        if len(items) == tables.item_count and self._overlay.alive is None:
            counts = np.asarray(self._department_counts)
        else:
            counts = np.bincount(tables.item_department[items], minlength=len(tables.department_ids))
        # Unique keys make the choice among equals the same every time: the lower number.
        keys = (counts.max(initial=0) - counts).astype(np.uint64) * np.uint64(len(counts))
        order = smallest(keys + np.arange(len(counts), dtype=np.uint64), _TOP_DEPARTMENTS).tolist()
        return [
            FacetCount(tables.department_ids[index], self._department(index).name, int(counts[index]))
            for index in order
            if counts[index]
        ]

    # Lists

    def suggest(self, prefix: str, division_code: str | None, first: int) -> list[Suggestion]:
        """Complete what is being typed (Chinese, pinyin, initials) to names offered in a division.

        Raises: InvalidPageSizeError, TextTooLongError, UnknownDivisionError.
        """
        check_first(first)
        check_text(prefix)
        tables = self.tables
        near = self._division_number(division_code)
        match = self._matcher.match(prefix, near, slips=False)
        if match.tiers is None:
            return []
        division = near if match.division is None else match.division
        items = items_of(tables, match.tiers, ranges_near(tables, division), self._overlay.alive)
        counts = np.bincount(tables.item_text[items], minlength=len(match.tiers))
        texts = np.flatnonzero((match.tiers != NO_MATCH) & (counts > 0))
        order = np.lexsort((tables.text_name_order[texts], -self._text_scores[texts], match.tiers[texts]))
        found: dict[str, Suggestion] = {}
        for text in texts[order].tolist():
            record = tables.text(text)
            known = found.get(record.name)
            if known is None and len(found) == first:
                break
            count = int(counts[text]) + (known.item_count if known is not None else 0)
            found[record.name] = Suggestion(record.name, count, highlights(record, match))
        return list(found.values())

    def popular(self, division_code: str | None, category_code: str | None, first: int) -> list[ItemView]:
        """List what people look at most, each service once, from the division and those above it.

        A service that several of them offer is shown as the nearest one implements it.
        Raises: InvalidPageSizeError, UnknownDivisionError.
        """
        return self._listed(Sort.POPULARITY, division_code, category_code, first)

    def newest(self, division_code: str | None, category_code: str | None, first: int) -> list[ItemView]:
        """List what changed last, each service once, from the division and those above it.

        A service that several of them offer is shown as the nearest one implements it.
        Raises: InvalidPageSizeError, UnknownDivisionError.
        """
        return self._listed(Sort.NEWEST, division_code, category_code, first)

    def _listed(
        self, sort: Sort, division_code: str | None, category_code: str | None, first: int
    ) -> list[ItemView]:
        check_first(first)
        division = self._division_number(division_code)
        asked = (sort, division, category_code, first)
        listed = self._lists.get(asked)
        if listed is None:
            listed = self._list(sort, division, category_code, first)
            if len(self._lists) < _MOST_LISTS:
                self._lists[asked] = listed
        return [ItemView(self, item) for item in listed]

    def _list(self, sort: Sort, division: int | None, category_code: str | None, first: int) -> list[int]:
        tables = self.tables
        ranges = ranges_near(tables, division, below=False)
        items = items_of(tables, None, ranges, self._overlay.alive)
        if category_code is not None:
            wanted = SearchFilter(category_codes=(category_code,))
            passing = combo_masks(tables.combos, wanted).passing()
            if passing is not None:
                items = items[passing[tables.item_combo[items]]]
        if division is not None:
            items = self._nearest_of_each_name(items)
        keys = sort_keys(tables, self._overlay, items, sort)
        return self._first_of_each_name(items, keys, first)

    def _nearest_of_each_name(self, items: Items) -> Items:
        """Keep of each name the item nearest to the citizen; items are of a division and those above it."""
        tables = self.tables
        names = tables.text_name_order[tables.item_text[items]]
        # A division comes behind those above it, so the last one is the nearest.
        division = np.searchsorted(tables.division_bounds, items, side="right")
        order = np.lexsort((self._overlay.keys[items], -division, names))
        _, leading = np.unique(names[order], return_index=True)
        return np.sort(items[order[leading]])

    def _first_of_each_name(self, items: Items, keys: Keys, first: int) -> list[int]:
        """Take the best item of each name."""
        names = self.tables.text_name_order[self.tables.item_text[items]]
        size = first * 4
        while True:
            order = smallest(keys, size)
            _, leading = np.unique(names[order], return_index=True)
            if len(leading) >= first or len(order) == len(items):
                chosen: list[int] = items[order[np.sort(leading)[:first]]].tolist()
                return chosen
            size *= 8

    def related(self, item: ItemView, first: int) -> list[ItemView]:
        """List services like an item that its division or those above offer, the most alike first.

        Raises: InvalidPageSizeError.
        """
        check_first(first)
        tables = self.tables
        ranges = ranges_near(tables, item.division.index, below=False)
        items = items_of(tables, None, ranges, self._overlay.alive)
        category = tables.combos[tables.item_combo[item.index], 0]
        items = items[tables.combos[tables.item_combo[items], 0] == category]
        # From the last range back: the nearest item of a name stands for it.
        texts, nearest = np.unique(tables.item_text[items][::-1], return_index=True)
        places = items[::-1][nearest]
        department = tables.item_department[item.index]
        scored = []
        for text, place in zip(texts.tolist(), places.tolist(), strict=True):
            name = tables.text(text).name
            if name == item.name:
                continue
            alike = fuzz.ratio(item.name, name) + 15.0 * bool(tables.item_department[place] == department)
            scored.append((-alike, name, place))
        scored.sort()
        return [ItemView(self, place) for _, _, place in scored[:first]]
