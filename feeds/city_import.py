"""The kinds of components and events of urban management from an operator's file, and back."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

from domain.city_classes import COLUMNS, REQUIRED, CityClassList, read_city_classes
from domain.tables import read_table
from feeds.tables import read_text


def read_city_classes_file(path: Path) -> CityClassList:
    """Read a complete table of classes. Raises: domain.tables.InvalidTableError, OSError."""
    return read_city_classes(read_table(read_text(path), COLUMNS, REQUIRED))


def write_city_classes_file(classes: CityClassList, out: TextIO) -> None:
    """Write the classes as `read_city_classes_file` reads them."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in classes.select():
        certain = "1" if each.is_certain else "0"
        limit = (each.limit, each.limit_unit.value, each.complaint_class)
        writer.writerow([each.code, each.kind.value, each.group, each.name, certain, *limit])
