"""Reading the rows of an operator's table: what is wrong is said with line, column and reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from domain.catalogue import InvalidDivisionCodeError, division_code
from domain.errors import DomainError

AnyEnum = TypeVar("AnyEnum", bound=StrEnum)


class InvalidTableError(DomainError):
    """A table cannot be used; `line` (the header is line 1), `column` and `reason` say why."""

    code = "INVALID_TABLE"


class Row:
    """One row of a table with named columns; an absent column is empty."""

    def __init__(self, line: int, values: Mapping[str, str]) -> None:
        self.line = line
        self._values = values

    def wrong(self, column: str, reason: str) -> InvalidTableError:
        """Make the refusal of a column of this row."""
        return InvalidTableError(line=self.line, column=column, reason=reason)

    def text(self, column: str, longest: int, *, required: bool = False) -> str:
        """Read a text without blanks around it. Raises: InvalidTableError."""
        value = self._values.get(column, "").strip()
        if required and not value:
            raise self.wrong(column, "is empty")
        if len(value) > longest:
            raise self.wrong(column, f"is longer than {longest} characters")
        if not value.isprintable() and any(ord(each) < 32 and each not in "\n\t" for each in value):
            raise self.wrong(column, "has control characters")
        return value

    def parts(self, column: str, longest: int) -> tuple[str, ...]:
        """Read a list that is separated by semicolons. Raises: InvalidTableError."""
        values = (each.strip() for each in self.text(column, longest).split(";"))
        return tuple(filter(None, values))

    def flag(self, column: str, *, default: bool = False) -> bool:
        """Read 0, 1, false or true. Raises: InvalidTableError."""
        value = self.text(column, 20).lower()
        if value not in ("", "0", "1", "true", "false"):
            raise self.wrong(column, "is neither 0 nor 1")
        return value in ("1", "true") if value else default

    def number(self, column: str, least: int, most: int) -> int | None:
        """Read a whole number within bounds; None when it is empty. Raises: InvalidTableError."""
        value = self.text(column, 20)
        if not value:
            return None
        if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
            raise self.wrong(column, f"is no number from {least} to {most}")
        return int(value)

    def choice(self, column: str, kinds: type[AnyEnum]) -> AnyEnum:
        """Read one of the values of an enum. Raises: InvalidTableError."""
        try:
            return kinds(self.text(column, 40))
        except ValueError:
            raise self.wrong(column, f"is none of {', '.join(kinds)}") from None

    def division(self, column: str, text: str | None = None) -> str:
        """Read a division code, of the column or of a text in it. Raises: InvalidTableError."""
        value = self.text(column, 12, required=True) if text is None else text
        try:
            return division_code(value)
        except InvalidDivisionCodeError:
            raise self.wrong(column, "is no division code of 6 or 9 digits") from None


def read_table(text: str, columns: Collection[str], required: Collection[str]) -> Iterator[Row]:
    """Yield the rows of a CSV text whose header names some of the columns, all the required ones among them.

    Raises: InvalidTableError for a wrong header, broken quotes or a row with more cells than the header.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in required:
            if name not in header:
                raise InvalidTableError(line=1, column=name, reason="is missing in the header")
        for name in header:
            if name not in columns or header.count(name) > 1:
                raise InvalidTableError(line=1, column=name[:40], reason="is unknown, or there twice")
        for cells in reader:
            if len(cells) > len(header):
                raise InvalidTableError(line=reader.line_num, column="*", reason="has too many cells")
            if any(cell.strip() for cell in cells):
                yield Row(reader.line_num, dict(zip(header, cells, strict=False)))
    except csv.Error as error:
        raise InvalidTableError(line=reader.line_num, column="*", reason=str(error)) from None
