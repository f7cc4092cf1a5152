"""Objects whose leaves GraphQL can write as they are: looked at once, when they are made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Enum
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

_LEAVES = frozenset({str, int, float, bool, date, datetime})
# What the values of a class have to be beside instances of it, and how that is said.
_BOUNDS: dict[type, tuple[Callable[[Any], bool], str]] = {
    int: (lambda value: -(2**31) <= value < 2**31, "within 32 bits"),
    float: (isfinite, "finite"),
    datetime: (lambda value: value.tzinfo is UTC, "in UTC"),
}


class Typed(Struct, frozen=True):
    """A frozen object whose leaves are what its annotations name, and what GraphQL's scalars can hold.

    Leaves are texts, integers of 32 bits, finite numbers, booleans, dates, instants in UTC and enums, or None
    beside one of these; their classes are exactly those named. Compiled code reads them without looking at
    them again; other fields are read like those of any object.

    Raises: TypeError when one is made with a value of another class, ValueError with one out of bounds.
    """

    def __post_init__(self) -> None:
        """Look at every leaf."""
        for name, classes in field_classes(type(self)).items():
            value = getattr(self, name)
            found = type(value)
            if found not in classes:
                expected = " or ".join(sorted(each.__name__ for each in classes))
                raise TypeError(f"{type(self).__name__}.{name} is {found.__name__}, not {expected}")
            is_fit, bounds = _BOUNDS.get(found, (None, ""))
            if is_fit is not None and not is_fit(value):
                raise ValueError(f"{type(self).__name__}.{name} is not {bounds}")


@cache
def field_classes(cls: type[Struct]) -> dict[str, frozenset[type]]:
    """Return the classes that the values of fields have, for the fields whose annotations say so."""
    if not cls.__struct_config__.frozen:
        return {}
    hints = get_type_hints(cls)
    found = {name: _classes(hints[name]) for name in cls.__struct_fields__}
    return {name: classes for name, classes in found.items() if classes}


def _classes(annotation: Any) -> frozenset[type]:
    is_union = get_origin(annotation) in (Union, UnionType)
    parts = frozenset(get_args(annotation) if is_union else (annotation,))
    leaves = parts - {NoneType}
    return parts if len(leaves) == 1 and all(map(_is_leaf, leaves)) else frozenset()


def _is_leaf(annotation: Any) -> bool:
    return annotation in _LEAVES or (isinstance(annotation, type) and issubclass(annotation, Enum))
