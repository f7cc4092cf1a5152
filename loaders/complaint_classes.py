"""The classes of complaints as shipped with the product; an operator's own list takes their place."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from domain.complaint_classes import COLUMNS, REQUIRED, ClassList, read_classes
from domain.tables import read_table


@cache
def shipped_classes() -> ClassList:
    """Read the shipped list, once for the process."""
    text = files("loaders.data").joinpath("complaint_classes.csv").read_text(encoding="utf-8")
    return read_classes(read_table(text, COLUMNS, REQUIRED))
