"""The search among public complaints: one index for each year of publication, newest year first.

A page is filled from the newest two weeks first, so that a common word costs the same whatever has piled up
before. What does not fill a page there is rare enough to be looked for in whole years. Files are shared by
the processes of a machine and mapped into memory; one of them writes.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import tantivy
from msgspec import Struct

from domain.complaint_publication import PublicComplaint, PublicState
from domain.complaints import Kind
from domain.text import compact, fold
from domain.units import lineage
from store.public_complaints import Change

_FORMAT: Final = 2
_NAMES: Final = "[0-9]" * 4
_WRITER_BYTES: Final = 30_000_000
_GRAM: Final = 3
_RUN: Final = re.compile(r"[0-9a-z]{4,}")
_RUN_GRAMS: Final = (4, 5, 6)
"""Letters and digits come in few kinds, so that longer groups of them are kept beside those of three."""
_WORDS: Final = 8
_A_DAY: Final = timedelta(days=1)
_WEEK_MS: Final = timedelta(weeks=1) // timedelta(milliseconds=1)
_PLACE_BITS: Final = 20
"""Of a place: the instant of publication in milliseconds above some bits of the id, so that places differ."""


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("text", tokenizer_name="grams", index_option="basic")
    builder.add_text_field("tag", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("place", fast=True)
    builder.add_unsigned_field("day", fast=True)
    builder.add_bytes_field("body", stored=True)
    return builder.build()


_SCHEMA: Final = _schema()
_GRAMS: Final = tantivy.TextAnalyzerBuilder(
    tantivy.Tokenizer.ngram(min_gram=1, max_gram=_GRAM, prefix_only=False)
).build()
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(PublicComplaint).decode


class PublicFilter(Struct, frozen=True):
    """What hits must have; parts that are None do not restrict.

    `class_code`: of a class or a group. `division_code`: that division and all below it. `first_day` and
    `last_day`: of submission, in Asia/Shanghai, both included.
    """

    division_code: str | None = None
    class_code: str | None = None
    kind: Kind | None = None
    state: PublicState | None = None
    first_day: date | None = None
    last_day: date | None = None


class Hits(Struct, frozen=True):
    """A page: complaints beside their places, newest publication first."""

    complaints: list[tuple[int, PublicComplaint]]
    has_next: bool


class _Mark(Struct, frozen=True):
    """How far the files are: every change before `seen` is in them."""

    format: int
    seen: datetime


def place_of(public_id: str, published_at: datetime) -> int:
    """Give the place of a complaint in the order of publication."""
    low = zlib.crc32(public_id.encode()) & (1 << _PLACE_BITS) - 1
    return (int(published_at.timestamp() * 1000) << _PLACE_BITS) | low


def _week_of(place: int) -> int:
    return (place >> _PLACE_BITS) // _WEEK_MS


def _start_of(week: int) -> int:
    """Give the place at which a week begins."""
    return week * _WEEK_MS << _PLACE_BITS


def _shelf_of(place: int) -> str:
    return f"{datetime.fromtimestamp((place >> _PLACE_BITS) / 1000, UTC):%Y}"


class Shelves:
    """The indexes under one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._shelves: dict[str, tantivy.Index] = {}
        self._newest = 0
        self._lock: int | None = None
        self._mark: _Mark | None = None

    @property
    def may_write(self) -> bool:
        """Tell whether this process is the one that writes."""
        return self._lock is not None

    @property
    def seen(self) -> datetime | None:
        """Tell before which instant every change is in the files; None for empty ones."""
        return self._mark.seen if self._mark else None

    def open(self) -> None:
        """Open what is there, or newly there; become the writer when there is none."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = _try_lock(self._directory / "lock")
        mark = self._read_mark()
        if mark is None and self._mark is None and self._lock is not None:
            self._clear()
        if mark is None or mark == self._mark:
            return
        self._mark = mark
        for path in self._directory.glob(_NAMES):
            self._open_shelf(path.name).reload()
        self._newest = self._find_newest()

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, changes: Iterable[Change], seen: datetime) -> None:
        """Bring changes in, in any order, as often as one likes; then all before `seen` is there."""
        by_shelf: dict[str, list[Change]] = {}
        for change in changes:
            by_shelf.setdefault(_shelf_of(place_of(change.id, change.published_at)), []).append(change)
        writers = []
        for name, some in by_shelf.items():
            index = self._open_shelf(name)
            writer = index.writer(_WRITER_BYTES, 1)
            for change in some:
                writer.delete_documents_by_term("id", change.id)
                if change.shown is not None:
                    writer.add_document(_document(change.shown))
            writer.commit()
            index.reload()
            writers.append(writer)
        if writers or self._mark is None:
            self._newest = self._find_newest()
            self._write_mark(_Mark(_FORMAT, seen))
        for writer in writers:  # what is gone is gone before parts of indexes are put together
            writer.wait_merging_threads()

    def search(self, text: str, wanted: PublicFilter, first: int, before: int | None = None) -> Hits:
        """List public complaints, newest publication first, behind a place; `text` is as it was typed."""
        parts = [*_by_text(text), *_by_tags(wanted)]
        if wanted.first_day is not None or wanted.last_day is not None:
            parts.append(_by_days(wanted))
        last = self._newest if before is None else before - 1
        found: list[tuple[int, PublicComplaint]] = []
        for name, part in self._from_newest(wanted, min(last, self._newest)):
            searcher = self._shelves[name].searcher()
            query = _all_of([*parts, *part])
            missing = first + 1 - len(found)
            hits = searcher.search(query, limit=missing, count=False, order_by_field="place").hits
            found += [(place, _decode(searcher.doc(at)["body"][0])) for place, at in hits]
            if len(found) > first:
                break
        return Hits(found[:first], len(found) > first)

    def _from_newest(self, wanted: PublicFilter, last: int) -> Iterator[tuple[str, list[tantivy.Query]]]:
        """Go through the parts of shelves that can have hits up to a place, each with what restricts to it.

        First the week of the place and the one before it, then what is older. Nothing is published before it
        was submitted.
        """
        week = _week_of(last)
        rest = _start_of(week - 1) - 1
        newest, older = _shelf_of(last), _shelf_of(rest)
        first = f"{wanted.first_day - _A_DAY:%Y}" if wanted.first_day is not None else ""
        names = [name for name in sorted(self._shelves, reverse=True) if first <= name <= newest]
        weeks = [(tantivy.Occur.Should, _term("tag", f"w:{each}")) for each in (week, week - 1)]
        within = [tantivy.Query.boolean_query(weeks)]
        if last < self._newest:
            within.append(_range("place", None, last))
        for name in names:
            if name >= older:
                yield name, within
        for name in names:
            if name <= older:
                yield name, [_range("place", None, rest)] if name == older else []

    def _find_newest(self) -> int:
        """Give the place of the newest complaint; 0 for none."""
        for name in sorted(self._shelves, reverse=True):
            everything = tantivy.Query.all_query()
            hits = self._shelves[name].searcher().search(everything, 1, order_by_field="place").hits
            if hits:
                return int(hits[0][0])
        return 0

    def _open_shelf(self, name: str) -> tantivy.Index:
        index = self._shelves.get(name)
        if index is None:
            path = self._directory / name
            path.mkdir(exist_ok=True)
            index = tantivy.Index(_SCHEMA, path=str(path))
            index.register_tokenizer("grams", _GRAMS)
            self._shelves[name] = index
        return index

    def _clear(self) -> None:
        """Drop what an older form, or a first filling that was broken off, has left."""
        for path in self._directory.glob(f"{_NAMES}*"):
            shutil.rmtree(path)

    def _read_mark(self) -> _Mark | None:
        try:
            content = (self._directory / "mark.json").read_bytes()
        except FileNotFoundError:
            return None
        mark = msgspec.json.decode(content, type=_Mark)
        return mark if mark.format == _FORMAT else None

    def _write_mark(self, mark: _Mark) -> None:
        temporary = self._directory / "mark.json.part"
        temporary.write_bytes(msgspec.json.encode(mark))
        temporary.replace(self._directory / "mark.json")
        self._mark = mark


def _try_lock(path: Path) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _document(shown: PublicComplaint) -> tantivy.Document:
    text, place = compact(fold(f"{shown.text} {shown.answer or ''}")), place_of(shown.id, shown.published_at)
    document = tantivy.Document()
    document.add_text("id", shown.id)
    document.add_text("text", text)
    for tag in (*_tags(shown), *_run_grams(text), f"w:{_week_of(place)}"):
        document.add_text("tag", tag)
    document.add_unsigned("place", place)
    document.add_unsigned("day", shown.submitted_on.toordinal())
    document.add_bytes("body", _encode(shown))
    return document


def _tags(shown: PublicComplaint) -> Sequence[str]:
    divisions = [f"d:{code}" for code in lineage(shown.division_code)]
    classes = []
    if shown.class_code is not None:
        classes = [f"c:{shown.class_code}", f"c:{shown.class_code[:2]}"]
    both = [f"{division} {of_class}" for division in divisions for of_class in classes]
    return [*divisions, *classes, *both, f"k:{shown.kind.value}", f"s:{shown.state.value}"]


def _run_grams(text: str) -> set[str]:
    """Give the groups of four to six letters and digits in a text."""
    return {
        f"r:{run[at : at + size]}"
        for run in _RUN.findall(text)
        for size in _RUN_GRAMS
        for at in range(len(run) - size + 1)
    }


def _by_text(text: str) -> list[tantivy.Query]:
    """Ask for every word; a word longer than three characters by all its groups of three.

    What has four and more letters and digits together, by its groups of up to six too.
    """
    words = fold(text).split()[:_WORDS]
    grams = dict.fromkeys(
        word[at : at + _GRAM] for word in words for at in range(max(len(word) - _GRAM, 0) + 1)
    )
    runs = dict.fromkeys(
        f"r:{run[at : at + _RUN_GRAMS[-1]]}"
        for word in words
        for run in _RUN.findall(word)
        for at in range(max(len(run) - _RUN_GRAMS[-1], 0) + 1)
    )
    return [*(_term("tag", run) for run in runs), *(_term("text", gram) for gram in grams)]


def _by_tags(wanted: PublicFilter) -> list[tantivy.Query]:
    tags = []
    if wanted.division_code is not None:
        tags.append(f"d:{wanted.division_code}")
    if wanted.class_code is not None:
        tags.append(f"c:{wanted.class_code}")
    wished = [" ".join(tags)] if tags else []  # those of both are kept together
    if wanted.kind is not None:
        wished.append(f"k:{wanted.kind.value}")
    if wanted.state is not None:
        wished.append(f"s:{wanted.state.value}")
    return [_term("tag", tag) for tag in wished]


def _by_days(wanted: PublicFilter) -> tantivy.Query:
    first = wanted.first_day.toordinal() if wanted.first_day else None
    last = wanted.last_day.toordinal() if wanted.last_day else None
    return _range("day", first, last)


def _all_of(parts: Sequence[tantivy.Query]) -> tantivy.Query:
    if not parts:
        return tantivy.Query.all_query()
    return tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in parts])


def _term(field: str, value: str) -> tantivy.Query:
    return tantivy.Query.term_query(_SCHEMA, field, value, index_option="basic")


def _range(field: str, lower: int | None, upper: int | None) -> tantivy.Query:
    return tantivy.Query.range_query(
        _SCHEMA, field, tantivy.FieldType.Unsigned, lower_bound=lower, upper_bound=upper
    )
