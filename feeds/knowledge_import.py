"""Guides from a file of JSON lines, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from domain.complaint_classes import ClassList
from domain.knowledge import Guide, GuideContent, InvalidGuideError, check_content
from domain.tables import InvalidTableError
from feeds.tables import read_text
from operations.knowledge import ImportRow

MAX_GUIDES: Final = 100_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_FIELDS = {"itemIds": "item_ids", "classCode": "class_code", "divisionCode": "division_code"}


class _Line(Struct, forbid_unknown_fields=True):
    id: Annotated[str, Meta(max_length=64)]
    question: str
    answer: str
    class_code: str | None = None
    division_code: str | None = None
    item_ids: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    review_by: date | None = None


_decoder = msgspec.json.Decoder(_Line)


def read_guides_file(path: Path, classes: ClassList) -> list[ImportRow]:
    """Read a whole file; nothing is half read.

    Raises: domain.tables.InvalidTableError naming line, field and reason; OSError.
    """
    return list(_read_lines(read_text(path).splitlines(), classes))


def _read_lines(lines: Iterable[str], classes: ClassList) -> Iterator[ImportRow]:
    seen: dict[str, int] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = _decoder.decode(text)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            raise InvalidTableError(line=number, column=place.strip(".`") or "*", reason=reason) from error
        except msgspec.DecodeError as error:
            raise InvalidTableError(line=number, column="*", reason="is no JSON object") from error
        if not _ID.fullmatch(line.id):
            raise InvalidTableError(line=number, column="id", reason="is no id of letters, digits, . - _")
        if line.id in seen:
            raise InvalidTableError(line=number, column="id", reason=f"is already in line {seen[line.id]}")
        if len(seen) == MAX_GUIDES:
            raise InvalidTableError(line=number, column="*", reason=f"more than {MAX_GUIDES} guides")
        seen[line.id] = number
        yield _read_row(number, line, classes)


def _read_row(number: int, line: _Line, classes: ClassList) -> ImportRow:
    content = GuideContent(
        line.question, line.answer, line.class_code, line.division_code, line.item_ids, line.keywords
    )
    try:
        return ImportRow(line.id, check_content(content, classes), line.review_by)
    except InvalidGuideError as error:
        field = str(error.params["field"])
        raise InvalidTableError(
            line=number, column=_FIELDS.get(field, field), reason="is missing, too long or names nothing"
        ) from error


def write_guide(guide: Guide) -> bytes:
    """Write the published content of a guide as a line that `read_guides_file` reads."""
    content = guide.published or guide.content
    line = _Line(
        guide.id,
        content.question,
        content.answer,
        content.class_code,
        content.division_code,
        content.item_ids,
        content.keywords,
        guide.review_by,
    )
    return msgspec.json.encode(line) + b"\n"
