"""Small values by which the running code tells what happened to a field."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

from msgspec import Struct


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


class Batch(Struct, eq=False):
    """One call of a relation's loader: the keys of the level, the distinct ones, and their values.

    With `gaps` some object has no key (null) or an unreadable one.
    """

    keys: list[Any]
    unique: dict[Any, Any]
    frame: Any
    arguments: dict[str, Any]
    gaps: bool
    values: list[Any] = []
    waiting: Any = None

    def fail(self, error: Exception) -> None:
        """Give every distinct key this error."""
        self.values = [Failed(error, late=True) for _ in self.unique]


class Rest:
    """What is left of a piece of work that could not be done at once; awaited once, or dropped."""

    __slots__ = ("_given", "_work")

    def __init__(self, work: Callable[..., Awaitable[Any]], *given: Any) -> None:
        self._work = work
        self._given = given

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work(*self._given).__await__()


class _FailedMark:
    __slots__ = ()

    def __repr__(self) -> str:
        return "FAILED"


FAILED: Final = _FailedMark()
"""In place of a completed value: an error was noted at this place."""
