"""How sums are packed: the slots that count something, in order, and their counts, as small as they can be.

A byte that tells the width of a count (1, 2, 4 or 8), the slots of two bytes each, the counts; little-endian.
Nothing at all: no counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SLOT: Final = np.dtype("<u2")
_WIDTHS: Final[dict[int, np.dtype[np.unsignedinteger[Any]]]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<u8"),
}


def pack(slots: Mapping[int, int]) -> bytes:
    """Pack counts by slot; none may be negative. Raises: OverflowError for what cannot be packed."""
    counted = sorted((slot, count) for slot, count in slots.items() if count)
    if not counted:
        return b""
    top = max(count for _, count in counted)
    width = next(width for width in _WIDTHS if top < 1 << 8 * width)
    places = np.array([slot for slot, _ in counted], _SLOT)
    counts = np.array([count for _, count in counted], _WIDTHS[width])
    return bytes([width]) + places.tobytes() + counts.tobytes()


def unpack(packed: bytes) -> dict[int, int]:
    """Give counts by slot."""
    if not packed:
        return {}
    places, counts = _parts(packed)
    return dict(zip(places.tolist(), counts.tolist(), strict=True))


def add(packed: bytes, slots: Mapping[int, int]) -> bytes:
    """Add counts by slot to packed ones."""
    sums = unpack(packed)
    for slot, count in slots.items():
        sums[slot] = sums.get(slot, 0) + count
    return pack(sums)


def spread(packed: bytes, into: NDArray[np.int64]) -> None:
    """Write packed counts into an array with a place for each slot."""
    if packed:
        places, counts = _parts(packed)
        into[places] = counts


def _parts(packed: bytes) -> tuple[NDArray[np.uint16], NDArray[np.unsignedinteger[Any]]]:
    width = packed[0]
    count = (len(packed) - 1) // (_SLOT.itemsize + width)
    places = np.frombuffer(packed, _SLOT, count, 1)
    return places, np.frombuffer(packed, _WIDTHS[width], count, 1 + count * _SLOT.itemsize)
