"""Small values by which the running code tells what happened to a field."""

from __future__ import annotations

from typing import Any, Final


class OddValueError(Exception):
    """Say that a value is not of the kind that generated code completes."""


class Failed:
    """A resolver or attribute that raised."""

    __slots__ = ("error", "late")

    def __init__(self, error: Exception, *, late: bool = False) -> None:
        self.error = error
        self.late = late
        """Whether it was raised while being awaited."""


class Late:
    """A value that had to be awaited."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Items:
    """What an iterable gave, and the error that ended it."""

    __slots__ = ("error", "items", "kind")

    def __init__(self, items: list[Any], error: Exception | None, kind: str) -> None:
        self.items = items
        self.error = error
        self.kind = kind
        """`list`, `iterator` or `async`."""


class Batch:
    """One call of a relation's loader: the keys of the level, the distinct ones, and their values."""

    __slots__ = ("arguments", "frame", "gaps", "keys", "unique", "values", "waiting")

    def __init__(self, keys: list[Any], unique: list[Any], *, gaps: bool = False) -> None:
        self.gaps = gaps
        """Whether some object has no key (null) or an unreadable one."""
        self.keys = keys
        self.unique = unique
        self.values: list[Any] = []
        self.waiting: Any = None
        self.arguments: dict[str, Any] = {}
        self.frame: Any = None

    def fail(self, error: Exception) -> None:
        """Give every distinct key this error."""
        self.values = [Failed(error, late=True) for _ in self.unique]


class _FailedMark:
    __slots__ = ()

    def __repr__(self) -> str:
        return "FAILED"


FAILED: Final = _FailedMark()
"""In place of a completed value: an error was noted at this place."""
