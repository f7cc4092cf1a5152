"""Objects whose fields are of the classes that they say: looked at once, when they are made."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

_LEAVES = frozenset({str, int, float, bool, date, datetime})


class Typed(Struct, frozen=True):
    """A frozen object whose leaves are of exactly the classes that its annotations name.

    Leaves are texts, numbers, booleans, dates, instants and enums, or None beside one of these. Compiled code
    reads them without looking at their classes again; other fields are read like those of any object.

    Raises: TypeError when one is made with a value of another class.
    """

    def __post_init__(self) -> None:
        """Look at the class of every leaf."""
        for name, classes in field_classes(type(self)).items():
            found = type(getattr(self, name))
            if found not in classes:
                expected = " or ".join(sorted(each.__name__ for each in classes))
                raise TypeError(f"{type(self).__name__}.{name} is {found.__name__}, not {expected}")


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
