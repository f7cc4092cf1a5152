"""Raw rows out of JSON lines, CSV and XLSX: streamed, in bounded memory, with line numbers and rejects."""

from __future__ import annotations

import csv
import re
import warnings
import zipfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from msgspec import Struct

from domain.errors import DomainError
from feeds.catalogue_mapping import Mapping

MAX_LINE_BYTES = 8 << 20
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".xlsx")
_MAX_SHEET_BYTES = 4 << 30
_MAX_SHARED_STRINGS_BYTES = 96 << 20  # openpyxl holds them in memory, at about twice their size
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"


class RejectCode(StrEnum):
    """Why a row was not taken."""

    NOT_JSON = "NOT_JSON"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    LINE_TOO_LONG = "LINE_TOO_LONG"
    INVALID_ENCODING = "INVALID_ENCODING"
    WRONG_COLUMN_COUNT = "WRONG_COLUMN_COUNT"
    BROKEN_QUOTES = "BROKEN_QUOTES"
    MISSING_VALUE = "MISSING_VALUE"
    INVALID_VALUE = "INVALID_VALUE"
    TOO_LONG = "TOO_LONG"
    UNKNOWN_DIVISION = "UNKNOWN_DIVISION"
    ID_OF_ANOTHER_FEED = "ID_OF_ANOTHER_FEED"


class Reject(Struct, frozen=True):
    """One rejected row: where it stands, which field is to blame, why."""

    file: str
    line: int
    field: str
    code: RejectCode
    reason: str


class RawRow(Struct, frozen=True):
    """One row as read; `position` is the byte offset (JSON lines) or the row count (others) after it."""

    line: int
    position: int
    values: dict[str, Any] | None = None
    reject: Reject | None = None


class UnreadableFileError(DomainError):
    """A file that cannot be imported at all; `reason` says why and what to do."""

    code = "UNREADABLE_FILE"


def _bounded_lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield physical lines; None for one over the bound, which is skipped without being held."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line
            continue
        while not line.endswith(b"\n") and (line := stream.readline(1 << 16)):
            pass
        yield None


def read_rows(path: Path, name: str, mapping: Mapping, *, start: int = 0, line: int = 0) -> Iterator[RawRow]:
    """Stream the rows of a file, by its suffix; `start` and `line` go on where an earlier reader stopped.

    Blank lines are no rows. Each physical line of a JSON lines file that is not a JSON object is one reject.
    Raises: UnreadableFileError.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _skip(_read_csv(path, name, mapping), start)
    if suffix == ".xlsx":
        return _skip(_read_xlsx(path, name, mapping), start)
    if suffix in SUFFIXES:
        return _read_json_lines(path, name, start, line)
    raise UnreadableFileError(file=name, reason=f"suffix {suffix!r} is none of {', '.join(SUFFIXES)}")


def _skip(rows: Iterator[RawRow], count: int) -> Iterator[RawRow]:
    return (row for row in rows if row.position > count)


def _read_json_lines(path: Path, name: str, start: int, line: int) -> Iterator[RawRow]:
    with path.open("rb") as stream:
        stream.seek(start)
        for raw in _bounded_lines(stream):
            line += 1
            position = stream.tell()
            if raw is None:
                reason = f"the line is longer than {MAX_LINE_BYTES} bytes"
                yield _rejected(name, line, position, RejectCode.LINE_TOO_LONG, reason)
                continue
            text = raw.removeprefix(_BOM) if line == 1 else raw
            if text.strip():
                yield _json_row(text, name, line, position)


def _json_row(raw: bytes, name: str, line: int, position: int) -> RawRow:
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        is_page = raw.lstrip()[:1] == b"<"
        reason = "the line is markup, not JSON" if is_page else f"the line is not JSON: {error}"[:200]
        return _rejected(name, line, position, RejectCode.NOT_JSON, reason)
    if not isinstance(values, dict):
        return _rejected(
            name, line, position, RejectCode.NOT_AN_OBJECT, "the line is JSON, but not an object"
        )
    return RawRow(line, position, values)


def _rejected(name: str, line: int, position: int, code: RejectCode, reason: str) -> RawRow:
    return RawRow(line, position, reject=Reject(name, line, "", code, reason))


def _text_lines(stream: BinaryIO, encoding: str) -> Iterator[str]:
    first = True
    for raw in _bounded_lines(stream):
        if raw is None:
            # A row of its own that the column count rejects; csv itself cannot be told about a gap.
            yield f"\x00{RejectCode.LINE_TOO_LONG}\n"
            continue
        text = (raw.removeprefix(_BOM) if first else raw).decode(encoding, "surrogateescape")
        first = False
        yield text


def _read_csv(path: Path, name: str, mapping: Mapping) -> Iterator[RawRow]:
    csv.field_size_limit(MAX_LINE_BYTES)
    with path.open("rb") as stream:
        reader = csv.reader(_text_lines(stream, mapping.encoding), delimiter=mapping.delimiter)
        header = _header(next(reader, []), name, mapping)
        count = 0
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                count += 1
                yield _rejected(name, reader.line_num, count, RejectCode.BROKEN_QUOTES, str(error))
                continue
            if not any(cells):
                continue
            count += 1
            yield _csv_row(cells, header, name, reader.line_num, count)


def _csv_row(cells: list[str], header: list[str], name: str, line: int, count: int) -> RawRow:
    if cells[0] == f"\x00{RejectCode.LINE_TOO_LONG}":
        return _rejected(name, line, count, RejectCode.LINE_TOO_LONG, "the line is too long")
    if len(cells) != len(header):
        reason = f"{len(cells)} columns where the header has {len(header)}"
        return _rejected(name, line, count, RejectCode.WRONG_COLUMN_COUNT, reason)
    if _SURROGATE.search("".join(cells)):
        return _rejected(
            name, line, count, RejectCode.INVALID_ENCODING, "bytes that the encoding does not have"
        )
    return RawRow(line, count, dict(zip(header, cells, strict=True)))


def _header(cells: list[str], name: str, mapping: Mapping) -> list[str]:
    header = [cell.strip() for cell in cells]
    if not any(header):
        raise UnreadableFileError(file=name, reason="the file is empty or has no header")
    if _SURROGATE.search("".join(header)):
        reason = f"the header is not {mapping.encoding}; set `encoding` in the mapping, such as gb18030"
        raise UnreadableFileError(file=name, reason=reason)
    named = [cell for cell in header if cell]
    if twice := sorted({cell for cell in named if named.count(cell) > 1}):
        raise UnreadableFileError(file=name, reason=f"columns named twice: {', '.join(twice)}")
    for field in ("id", "name"):
        columns = mapping.fields[field]
        wanted = [columns] if isinstance(columns, str) else columns
        if not set(wanted) & set(named):
            reason = f"no column {' or '.join(wanted)} for {field}; the file has {', '.join(named)[:300]}"
            raise UnreadableFileError(file=name, reason=reason)
    return header


def _read_xlsx(path: Path, name: str, mapping: Mapping) -> Iterator[RawRow]:
    # Heavy, and needed for this format only.
    from openpyxl import load_workbook  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        _check_archive(path, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # styles it does not know do not concern the data
            book = load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UnreadableFileError(file=name, reason=f"not an XLSX workbook: {error}") from error
    try:
        if mapping.sheet and mapping.sheet not in book.sheetnames:
            raise UnreadableFileError(
                file=name, reason=f"no sheet {mapping.sheet}: {', '.join(book.sheetnames)}"
            )
        sheet = book[mapping.sheet] if mapping.sheet else book.worksheets[0]
        rows = sheet.iter_rows(values_only=True)
        header = _header(["" if cell is None else str(cell) for cell in next(rows, ())], name, mapping)
        count = 0
        for number, cells in enumerate(rows, 2):
            if any(cell not in (None, "") for cell in cells):
                count += 1
                values = dict(zip(header, cells, strict=False))
                values.pop("", None)
                yield RawRow(number, count, values)
    finally:
        book.close()


def _check_archive(path: Path, name: str) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            limit = _MAX_SHARED_STRINGS_BYTES if "sharedStrings" in member.filename else _MAX_SHEET_BYTES
            if member.file_size > limit:
                reason = f"{member.filename} unpacks to {member.file_size} bytes; save it as CSV instead"
                raise UnreadableFileError(file=name, reason=reason)
