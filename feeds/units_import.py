"""Units and classes from an operator's files, and back."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from domain.complaint_classes import COLUMNS as CLASS_COLUMNS
from domain.complaint_classes import REQUIRED as CLASS_REQUIRED
from domain.complaint_classes import ClassList, read_classes
from domain.tables import read_table
from domain.unit_tables import COLUMNS, REQUIRED, read_units, write_units
from domain.units import UnitTree
from feeds.tables import read_text


def read_units_file(path: Path) -> UnitTree:
    """Read a complete table of units. Raises: domain.tables.InvalidTableError, OSError."""
    return read_units(read_table(read_text(path), COLUMNS, REQUIRED))


def write_units_file(tree: UnitTree, out: TextIO) -> None:
    """Write the units as `read_units_file` reads them, closed ones too."""
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(write_units(tree))


def read_classes_file(path: Path) -> ClassList:
    """Read a complete table of classes. Raises: domain.tables.InvalidTableError, OSError."""
    return read_classes(read_table(read_text(path), CLASS_COLUMNS, CLASS_REQUIRED))


def write_classes_file(classes: ClassList, out: TextIO) -> None:
    """Write the classes as `read_classes_file` reads them."""
    writer = csv.DictWriter(out, CLASS_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_class_rows(classes))


def _class_rows(classes: ClassList) -> Iterator[dict[str, str]]:
    for each in classes.all:
        yield {
            "code": each.code,
            "parent": each.parent_code or "",
            "name": each.name,
            "name_en": each.name_en,
            "is_convenience": "1" if each.is_convenience else "0",
            "is_environmental": "1" if each.is_environmental else "0",
            "duty": each.duty,
            "keywords": ";".join(each.keywords),
        }
