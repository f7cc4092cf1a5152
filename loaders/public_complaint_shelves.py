"""The search among public complaints: one index for each month of publication, newest month first.

A page is filled from the newest month backwards and stops when it is full, so that a common word costs the
same whatever has piled up before, and a rare one little more than a look into each month. Files are shared by
the processes of a machine and mapped into memory; one of them writes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import msgspec
import tantivy
from msgspec import Struct

from domain.complaint_publication import PublicComplaint, PublicState
from domain.complaints import Kind
from domain.preferences import SHANGHAI
from domain.text import compact, fold
from domain.units import lineage
from store.public_complaints import Change

_FORMAT: Final = 1
_WRITER_BYTES: Final = 30_000_000
_GRAM: Final = 3
_WORDS: Final = 8
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


def _shelf_of(instant: datetime) -> str:
    return f"{instant.astimezone(SHANGHAI):%Y-%m}"


class Shelves:
    """The indexes under one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._shelves: dict[str, tantivy.Index] = {}
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
        for path in self._directory.glob("????-??"):
            self._open_shelf(path.name).reload()

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, changes: Iterable[Change], seen: datetime) -> None:
        """Bring changes in, in any order, as often as one likes; then all before `seen` is there."""
        by_shelf: dict[str, list[Change]] = {}
        for change in changes:
            by_shelf.setdefault(_shelf_of(change.published_at), []).append(change)
        for name, some in by_shelf.items():
            index = self._open_shelf(name)
            writer = index.writer(_WRITER_BYTES, 1)
            for change in some:
                writer.delete_documents_by_term("id", change.id)
                if change.shown is not None:
                    writer.add_document(_document(change.shown))
            writer.commit()
            writer.wait_merging_threads()
            index.reload()
        if by_shelf or self._mark is None:
            self._write_mark(_Mark(_FORMAT, seen))

    def search(self, text: str, wanted: PublicFilter, first: int, before: int | None = None) -> Hits:
        """List public complaints, newest publication first, behind a place; `text` is as it was typed."""
        parts = [*_by_text(text), *_by_tags(wanted)]
        if wanted.first_day is not None or wanted.last_day is not None:
            parts.append(_by_days(wanted))
        if before is not None:
            parts.append(_range("place", None, before - 1))
        query = tantivy.Query.all_query()
        if parts:
            query = tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in parts])
        found: list[tuple[int, PublicComplaint]] = []
        for searcher in self._from_newest(wanted, before):
            missing = first + 1 - len(found)
            hits = searcher.search(query, limit=missing, count=False, order_by_field="place").hits
            found += [(place, _decode(searcher.doc(at)["body"][0])) for place, at in hits]
            if len(found) > first:
                break
        return Hits(found[:first], len(found) > first)

    def _from_newest(self, wanted: PublicFilter, before: int | None) -> Iterator[tantivy.Searcher]:
        """Go through the months that can have hits: nothing is published before it was submitted."""
        last = "9999-12"
        if before is not None:
            last = _shelf_of(datetime.fromtimestamp((before >> _PLACE_BITS) / 1000, UTC))
        first = f"{wanted.first_day:%Y-%m}" if wanted.first_day is not None else ""
        for name in sorted(self._shelves, reverse=True):
            if first <= name <= last:
                yield self._shelves[name].searcher()

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
        for path in self._directory.glob("????-??"):
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
    document = tantivy.Document()
    document.add_text("id", shown.id)
    document.add_text("text", compact(fold(f"{shown.text} {shown.answer or ''}")))
    for tag in _tags(shown):
        document.add_text("tag", tag)
    document.add_unsigned("place", place_of(shown.id, shown.published_at))
    document.add_unsigned("day", shown.submitted_on.toordinal())
    document.add_bytes("body", _encode(shown))
    return document


def _tags(shown: PublicComplaint) -> Sequence[str]:
    tags = [f"d:{code}" for code in lineage(shown.division_code)]
    if shown.class_code is not None:
        tags += [f"c:{shown.class_code}", f"c:{shown.class_code[:2]}"]
    return [*tags, f"k:{shown.kind.value}", f"s:{shown.state.value}"]


def _by_text(text: str) -> list[tantivy.Query]:
    """Ask for every word; a word longer than three characters by all its groups of three."""
    grams = dict.fromkeys(
        word[at : at + _GRAM]
        for word in fold(text).split()[:_WORDS]
        for at in range(max(len(word) - _GRAM, 0) + 1)
    )
    return [_term("text", gram) for gram in grams]


def _by_tags(wanted: PublicFilter) -> list[tantivy.Query]:
    tags = {
        "d": wanted.division_code,
        "c": wanted.class_code,
        "k": wanted.kind.value if wanted.kind else None,
        "s": wanted.state.value if wanted.state else None,
    }
    return [_term("tag", f"{name}:{value}") for name, value in tags.items() if value is not None]


def _by_days(wanted: PublicFilter) -> tantivy.Query:
    first = wanted.first_day.toordinal() if wanted.first_day else None
    last = wanted.last_day.toordinal() if wanted.last_day else None
    return _range("day", first, last)


def _term(field: str, value: str) -> tantivy.Query:
    return tantivy.Query.term_query(_SCHEMA, field, value, index_option="basic")


def _range(field: str, lower: int | None, upper: int | None) -> tantivy.Query:
    return tantivy.Query.range_query(
        _SCHEMA, field, tantivy.FieldType.Unsigned, lower_bound=lower, upper_bound=upper
    )
