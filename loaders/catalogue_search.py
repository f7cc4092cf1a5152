"""What a search asks and what it gives: queries, pages, facets, cursors, highlights."""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from rapidfuzz import fuzz

from domain.catalogue import Audience, Level
from domain.errors import DomainError
from domain.text import fold_with_offsets
from loaders.catalogue_files import TextRecord
from loaders.catalogue_match import Match

if TYPE_CHECKING:
    from loaders.catalogue_select import Selection
    from loaders.catalogue_snapshot import CatalogueSnapshot
    from loaders.catalogue_views import ItemView

MAX_FIRST = 100
MAX_TEXT = 300  # as long as the longest name of an item
_CURSOR_FORM = 1


class Sort(StrEnum):
    """The order of a search's hits."""

    RELEVANCE = "RELEVANCE"
    POPULARITY = "POPULARITY"
    NEWEST = "NEWEST"
    NAME = "NAME"
    PROMISED_DAYS = "PROMISED_DAYS"


_SORTS = tuple(Sort)


class InvalidPageSizeError(DomainError):
    """A page size below 1 or above the maximum."""

    code = "INVALID_PAGE_SIZE"


class TextTooLongError(DomainError):
    """A text longer than anybody searches for."""

    code = "TEXT_TOO_LONG"


class InvalidCursorError(DomainError):
    """A cursor that this search did not hand out; `reason` is FORM, VERSION or SORT."""

    code = "INVALID_CURSOR"


class UnknownDivisionError(DomainError):
    """A division code that the catalogue does not know."""

    code = "UNKNOWN_DIVISION"


class SearchFilter(Struct, frozen=True):
    """What hits must have. Empty parts do not restrict; `online_depth` is the least depth.

    `division_code` is the citizen's division: hits are in it, above it or below it.
    """

    category_codes: tuple[str, ...] = ()
    division_code: str | None = None
    levels: tuple[Level, ...] = ()
    department_ids: tuple[str, ...] = ()
    audience: Audience | None = None
    online_depth: int | None = None


class SearchQuery(Struct, frozen=True):
    """A search: `text` as typed (at most 300 characters, may be empty), `first` 1 to 100."""

    text: str = ""
    filter: SearchFilter = SearchFilter()
    sort: Sort = Sort.RELEVANCE
    first: int = 20
    after: str | None = None


class TextRange(Struct, frozen=True):
    """A part of a name, in Unicode code points; `end` lies behind the last."""

    start: int
    end: int


class FacetCount(Struct, frozen=True):
    """How many hits have a value."""

    value: str
    label: str
    count: int


class Facets(Struct, frozen=True):
    """Counts over all pages, each without the filter on its own value so that others can be chosen.

    `divisions` are those right below the filter's division, else below the root; it counts items of a
    division and all below it. `departments` are the 20 with the most hits.
    """

    categories: list[FacetCount]
    levels: list[FacetCount]
    divisions: list[FacetCount]
    departments: list[FacetCount]
    audiences: list[FacetCount]
    online_depths: list[FacetCount]


class PageInfo(Struct, frozen=True):
    """Where a page lies."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


class Suggestion(Struct, frozen=True):
    """A name that completes what was typed, and how many items of it the division has."""

    text: str
    item_count: int
    highlights: list[TextRange]


class SearchHit:
    """One hit; the cursor and the highlights are made when asked."""

    __slots__ = ("_key", "_match", "_sort", "node")

    def __init__(self, node: ItemView, key: int, sort: Sort, match: Match) -> None:
        self.node = node
        self._key = key
        self._sort = sort
        self._match = match

    @property
    def cursor(self) -> str:
        """The place behind this hit."""
        return encode_cursor(self._sort, self._key, self.node.id)

    @property
    def highlights(self) -> list[TextRange]:
        """Where the name matches, in order, without overlaps."""
        tables = self.node.snapshot.tables
        return highlights(tables.text(tables.text_of(self.node.index)), self._match)


class SearchPage:
    """A page of hits; facets are counted when asked."""

    def __init__(
        self,
        snapshot: CatalogueSnapshot,
        query: SearchQuery,
        selection: Selection,
        edges: list[SearchHit],
        has_next_page: bool,
    ) -> None:
        self._snapshot = snapshot
        self._selection = selection
        self._query = query
        self._has_next_page = has_next_page
        self.edges = edges
        self.total_count = len(selection.items)

    @cached_property
    def facets(self) -> Facets:
        """Counts of the hits by value."""
        return self._snapshot.facets_of(self._selection)

    @cached_property
    def page_info(self) -> PageInfo:
        """Where this page lies."""
        return PageInfo(
            has_next_page=self._has_next_page,
            has_previous_page=self._query.after is not None,
            start_cursor=self.edges[0].cursor if self.edges else None,
            end_cursor=self.edges[-1].cursor if self.edges else None,
        )


def check_query(query: SearchQuery) -> None:
    """Refuse a query that is out of bounds.

    Raises: InvalidPageSizeError, TextTooLongError.
    """
    check_first(query.first)
    check_text(query.text)


def check_first(first: int) -> None:
    """Refuse a page size out of bounds. Raises: InvalidPageSizeError."""
    if not 1 <= first <= MAX_FIRST:
        raise InvalidPageSizeError(first=first, maximum=MAX_FIRST)


def check_text(text: str) -> None:
    """Refuse a text that is too long. Raises: TextTooLongError."""
    if len(text) > MAX_TEXT:
        raise TextTooLongError(maximum=MAX_TEXT)


def encode_cursor(sort: Sort, key: int, item_id: str) -> str:
    """Make the opaque cursor behind an item that was ordered by `key`."""
    packed = msgspec.msgpack.encode((_CURSOR_FORM, _SORTS.index(sort), key, item_id))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def decode_cursor(cursor: str, sort: Sort) -> tuple[int, str]:
    """Take a cursor apart into key and item id.

    Raises: InvalidCursorError.
    """
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts: Any = msgspec.msgpack.decode(packed)
    except (binascii.Error, ValueError) as error:
        raise InvalidCursorError(reason="FORM") from error
    if not isinstance(parts, list) or not parts or parts[0] != _CURSOR_FORM:
        raise InvalidCursorError(reason="VERSION")
    try:
        _, sorted_by, key, item_id = msgspec.convert(parts, tuple[int, int, int, str])
    except msgspec.ValidationError as error:
        raise InvalidCursorError(reason="FORM") from error
    if not (0 <= key < 1 << 64 and 0 <= sorted_by < len(_SORTS)):
        raise InvalidCursorError(reason="FORM")
    if _SORTS[sorted_by] is not sort:
        raise InvalidCursorError(reason="SORT", cursor_sort=_SORTS[sorted_by].value, sort=sort.value)
    return key, item_id


def highlights(text: TextRecord, match: Match) -> list[TextRange]:
    """Tell where a name matches: the typed text, its official forms, its words or its pinyin."""
    if match.tiers is None:
        return []
    folded, offsets = fold_with_offsets(text.name)
    spans = _literal_spans(folded, match.needles)
    if not spans and match.spelling:
        spans = _spelled_spans(text, match.spelling)
    if not spans and match.slip and match.needles:
        aligned = fuzz.partial_ratio_alignment(match.needles[0], folded)
        spans = [(aligned.dest_start, aligned.dest_end)] if aligned is not None and aligned.score > 0 else []
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return [TextRange(offsets[start], offsets[end - 1] + 1) for start, end in merged if end > start]


def _literal_spans(folded: str, needles: tuple[str, ...]) -> list[tuple[int, int]]:
    spans = []
    for index, needle in enumerate(needles):
        # A text of nothing but marks folds to nothing; synonyms of one character say too little.
        if len(needle) < (2 if index else 1):
            continue
        at = folded.find(needle)
        while at >= 0:
            spans.append((at, at + len(needle)))
            at = folded.find(needle, at + len(needle))
        if spans and not index:
            break
    return spans


def _spelled_spans(text: TextRecord, spelling: str) -> list[tuple[int, int]]:
    """Find typed letters in the spelling of a name or in its initials; give the characters."""
    for initials in (False, True):
        starts: dict[int, int] = {}
        ends: list[tuple[int, int]] = []
        joined = ""
        at = 0
        for syllable, length in text.syllables:
            short = initials and length == 1 and not syllable.isdigit()
            starts.setdefault(len(joined), at)
            joined += syllable[:1] if short else syllable
            at += length
            ends.append((len(joined), at))
        place = joined.find(spelling)
        while place >= 0:
            if place in starts:
                reached = place + len(spelling)
                return [(starts[place], next(end for size, end in ends if size >= reached))]
            place = joined.find(spelling, place + 1)
    return []
