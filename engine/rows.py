"""Rows of the answer: structs without names in them, one class for each list of response keys.

Making one costs less than a dict, and msgspec writes it without looking at its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct

_MOST_INSTANTS = 4096
_SIMPLE = frozenset({str, int, float, bool, type(None)})


class Row(Struct, gc=False):
    """One object of the answer; its fields are written under its class's response keys, in order."""


@lru_cache(maxsize=4096)
def row_class(keys: tuple[str, ...]) -> type[Row]:
    """Return the class of rows with these response keys."""
    names = [f"f{number}" for number in range(len(keys))]
    renamed = dict(zip(names, keys, strict=True))
    made: Any = msgspec.defstruct(
        "Row", [(name, Any) for name in names], bases=(Row,), rename=renamed, gc=False
    )
    cls: type[Row] = made
    return cls


class Unusual:
    """A serialised leaf of a class that msgspec would write in a way of its own, or not at all."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def written(value: Any) -> Any:
    """Return a serialised leaf as rows hold it."""
    return value if value.__class__ in _SIMPLE else Unusual(value)


class Instants(dict[datetime, str]):
    """ISO 8601 texts of instants, made once each; only for one class and kind of time zone."""

    def __missing__(self, instant: datetime) -> str:
        """Write an instant."""
        if len(self) >= _MOST_INSTANTS:
            self.clear()
        text = self[instant] = instant.isoformat()
        return text


def plain(value: Any) -> Any:
    """Return what orjson writes: rows as dicts, stored JSON as `orjson.Fragment`."""
    cls = value.__class__
    if cls in _SIMPLE:
        return value
    if cls is list:
        return [plain(each) for each in value]
    if cls is dict:
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, Row):
        return {key: plain(each) for key, each in fields_of(value).items()}
    if cls is Raw:
        return orjson.Fragment(bytes(value))
    return value.value if cls is Unusual else value


def fields_of(row: Any) -> Mapping[str, Any]:
    """Return the values of a row, or of the dict in its place, by response key."""
    if isinstance(row, Row):
        names = row.__struct_fields__
        keys = row.__struct_encode_fields__
        return {key: getattr(row, name) for key, name in zip(keys, names, strict=True)}
    values: Mapping[str, Any] = row
    return values
