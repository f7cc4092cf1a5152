"""Hashable forms of variable values for cache keys; equal only where the values are of equal classes, too."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from typing import Any

_PLAIN = (
    str,
    bytes,
    int,
    float,
    bool,
    datetime.datetime,
    datetime.date,
    datetime.time,
    decimal.Decimal,
    uuid.UUID,
)


class UnfreezableError(Exception):
    """A value has no hashable form, so nothing that depends on it is kept."""


def freeze(value: Any) -> Hashable:
    """Return a hashable form in which `1`, `1.0`, `True` and `"1"` differ.

    Raises:
        UnfreezableError: for objects whose content is not known.
    """
    if value is None or value.__class__ is str:
        result: Hashable = value
        return result
    cls = value.__class__
    if cls in _PLAIN:
        if cls is float and value == 0.0:
            return (cls, str(value))
        return (cls, value) if cls is not decimal.Decimal else (cls, str(value))
    if isinstance(value, enum.Enum):
        return (cls, value.name)
    if cls is list or cls is tuple:
        return (cls, *(freeze(each) for each in value))
    if cls is dict:
        return (cls, *(freeze(each) for pair in sorted(value.items(), key=_text) for each in pair))
    if is_dataclass(value):
        return (cls, *(freeze(getattr(value, each.name)) for each in fields(value)))
    raise UnfreezableError(cls.__name__)


def _text(pair: tuple[Any, Any]) -> str:
    return f"{pair[0].__class__.__name__}:{pair[0]}"
