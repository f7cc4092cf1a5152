"""What batches of keys and documents have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TypeVar

from pymongo.errors import BulkWriteError

KEY_BATCH: Final = 64
"""Keys of one `$in`: the embedded engine answers it in quadratic time, 64 keys a call are fastest."""
WRITE_BATCH: Final = 1000
LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Lower end of ranges of instants: the embedded engine scans a range that is open below."""

_DUPLICATE_KEY = 11000
_Value = TypeVar("_Value")


def chunks(values: Iterable[_Value], size: int) -> Iterator[list[_Value]]:
    """Cut values into lists of at most `size`, order kept."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


def duplicates(error: BulkWriteError) -> set[int]:
    """List the indexes of the documents that were there already, when nothing else went wrong.

    Raises: BulkWriteError when something else did.
    """
    errors = error.details["writeErrors"]
    if error.details.get("writeConcernErrors") or any(each["code"] != _DUPLICATE_KEY for each in errors):
        raise error
    return {each["index"] for each in errors}
