"""A suffix array over many short strings: every place where a text occurs is one slice of an array.

Unlike words it finds parts of words, unlike n-grams it needs no intersection and no check afterwards. The
arrays are memory-mapped and shared by processes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loaders.catalogue_files import read_array

Ints = NDArray[np.int32]
Flags = NDArray[np.uint8]

AT_START = np.uint8(1)  # the suffix is a whole string
AT_BOUNDARY = np.uint8(2)  # the suffix begins where a syllable begins
_ENCODINGS = {1: "latin-1", 4: "utf-32-be"}


def _sorted_suffixes(codes: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
    """Sort all suffixes by their first `longest` characters (prefix doubling)."""
    _, rank = np.unique(codes, return_inverse=True)
    rank = rank.astype(np.int64).reshape(-1)
    size = len(rank)
    order = np.argsort(rank, kind="stable")
    step = 1
    while step < longest:
        ahead = np.zeros(size, np.int64)
        ahead[: size - step] = rank[step:] + 1 if step < size else 0
        key = rank * (size + 1) + ahead
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        fresh = np.empty(size, np.int64)
        fresh[order] = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))
        rank = fresh
        if int(rank.max(initial=0)) == size - 1:
            break
        step *= 2
    return order


def write_suffixes(
    directory: Path,
    name: str,
    strings: Sequence[str],
    owners: Sequence[int],
    *,
    width: int = 4,
    boundaries: Iterable[Sequence[int]] | None = None,
) -> None:
    """Write the index of `strings`; `owners[i]` is what a hit in string i gives.

    `width` is 1 for strings of Latin-1, 4 for any. `boundaries` gives per string the offsets of syllables.
    """
    joined = "\0".join(strings) + "\0"
    raw = joined.encode(_ENCODINGS[width])
    codes = np.frombuffer(raw, np.uint8 if width == 1 else ">u4").astype(np.int64)
    lengths = np.fromiter((len(string) for string in strings), np.int64, len(strings))
    starts = np.concatenate(([0], np.cumsum(lengths + 1)[:-1])) if len(strings) else np.zeros(0, np.int64)
    flags = np.zeros(len(codes), np.uint8)
    flags[starts[lengths > 0]] |= AT_START | AT_BOUNDARY
    if boundaries is not None:
        marks = [
            start + offset
            for start, offsets in zip(starts.tolist(), boundaries, strict=True)
            for offset in offsets
        ]
        flags[np.asarray(marks, np.int64)] |= AT_BOUNDARY
    order = _sorted_suffixes(codes, int(lengths.max(initial=1)))
    order = order[codes[order] != 0]
    string_of = np.repeat(np.arange(len(strings)), lengths + 1) if len(strings) else np.zeros(1, np.int64)
    owner_of = np.asarray(owners, np.int32)
    (directory / f"{name}.codes").write_bytes(raw)
    np.save(directory / f"{name}.positions.npy", order.astype(np.int32))
    np.save(directory / f"{name}.owners.npy", owner_of[string_of[order]].astype(np.int32))
    np.save(directory / f"{name}.flags.npy", flags[order])
    np.save(directory / f"{name}.boundaries.npy", ((flags & AT_BOUNDARY) != 0) | (codes == 0))
    np.save(directory / f"{name}.starts.npy", starts.astype(np.int32))
    np.save(directory / f"{name}.string_owners.npy", owner_of)


class Hits:
    """Where a text occurs: owners, flags and positions, aligned; an owner may come more than once."""

    __slots__ = ("flags", "index", "length", "owners", "positions")

    def __init__(self, index: SuffixIndex, low: int, high: int, length: int) -> None:
        self.index = index
        self.length = length
        self.owners: Ints = index.owners[low:high]
        self.flags: Flags = index.flags[low:high]
        self.positions: Ints = index.positions[low:high]

    def __len__(self) -> int:
        return len(self.owners)

    def starting(self) -> Ints:
        """Give the owners of strings that start with the text."""
        owners: Ints = self.owners[(self.flags & AT_START) != 0]
        return owners

    def exact(self) -> Ints:
        """Give the owners of strings that are the text."""
        at_start = (self.flags & AT_START) != 0
        ends = self.index.codes[self.positions[at_start] + self.length] == 0
        owners: Ints = self.owners[at_start][ends]
        return owners

    def on_boundaries(self) -> Ints:
        """Give the owners where the text begins and ends on a syllable."""
        begins = (self.flags & AT_BOUNDARY) != 0
        ends = self.index.boundaries[self.positions[begins] + self.length]
        owners: Ints = self.owners[begins][ends]
        return owners


class SuffixIndex:
    """The memory-mapped index that `write_suffixes` wrote."""

    def __init__(self, directory: Path, name: str, *, width: int = 4) -> None:
        path = directory / f"{name}.codes"
        self._width = width
        self._encoding = _ENCODINGS[width]
        with path.open("rb") as file:
            self._raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.codes: NDArray[np.uint32] | NDArray[np.uint8] = np.frombuffer(
            self._raw, np.uint8 if width == 1 else ">u4"
        )

        def load(part: str) -> NDArray[Any]:
            return read_array(directory / f"{name}.{part}.npy")

        self.positions: Ints = load("positions")
        self.owners: Ints = load("owners")
        self.flags: Flags = load("flags")
        self.boundaries: NDArray[np.bool_] = load("boundaries")
        self.starts: Ints = load("starts")
        self.string_owners: Ints = load("string_owners")
        self._view = self.positions.data

    def _range(self, text: str) -> tuple[int, int]:
        needle = text.encode(self._encoding, "replace")
        raw, view, width, size = self._raw, self._view, self._width, len(needle)
        low, high = 0, len(view)
        # Both bounds in one loop: `top` remembers the least index known to sort after every match.
        top = high
        while low < high:
            middle = (low + high) >> 1
            at = view[middle] * width
            piece = raw[at : at + size]
            if piece < needle:
                low = middle + 1
            else:
                high = middle
                if piece > needle:
                    top = middle
        first = low
        while low < top:
            middle = (low + top) >> 1
            at = view[middle] * width
            if raw[at : at + size] > needle:
                top = middle
            else:
                low = middle + 1
        return first, low

    def find(self, text: str) -> Hits:
        """Find every occurrence of a text (not empty, folded)."""
        low, high = self._range(text)
        return Hits(self, low, high, len(text))

    def has(self, text: str) -> bool:
        """Tell whether a text occurs anywhere."""
        low, high = self._range(text)
        return low < high

    def find_one_slip(self, text: str, *, on_boundary: bool = False) -> Ints:
        """Find owners with the text but for one character: another, a missing, an extra or two swapped.

        With `on_boundary` the place must begin on a syllable. A text shorter than three gives nothing.
        """
        size = len(text)
        if size < 3:
            return np.zeros(0, np.int32)
        found = [self._owners_at(places, on_boundary) for places in self._slip_places(text)]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int32)

    def _slip_places(self, text: str) -> Iterator[Ints]:
        size = len(text)
        for at in range(size):
            left, right = text[:at], text[at + 1 :]
            yield self._around_gap(left, right, 1)  # another character
            if at:
                yield self._around_gap(left, text[at:], 1)  # one is missing
            if left and right:
                yield self._around_gap(left, right, 0)  # one too many
            if right and text[at] != right[0]:
                yield self.find(left + right[0] + text[at] + right[1:]).positions

    def _around_gap(self, left: str, right: str, gap: int) -> Ints:
        """Give the places of `left`, then `gap` characters of the same string, then `right`."""
        if not gap:
            return self.find(left + right).positions
        if len(left) >= len(right):
            places = self.find(left).positions
            return self._keep(places, len(left), gap, right, len(left) + gap)
        # Anchor on the longer part; what lies before it is then compared character by character.
        offset = len(left) + gap
        places = self.find(right).positions
        places = places[places >= offset] - np.int32(offset)
        return self._keep(places, len(left), gap, left, 0)

    def _keep(self, places: Ints, gap_at: int, gap: int, rest: str, rest_at: int) -> Ints:
        codes = self.codes
        limit = len(codes)
        for index in range(gap):
            at = places + np.int32(gap_at + index)
            inside = at < limit
            places = places[inside]
            places = places[codes[at[inside]] != 0]
        for index, character in enumerate(rest):
            at = places + np.int32(rest_at + index)
            inside = at < limit
            places = places[inside]
            places = places[codes[at[inside]] == ord(character)]
            if not len(places):
                break
        return places

    def _owners_at(self, places: Ints, on_boundary: bool) -> Ints:
        if not len(places):
            return np.zeros(0, np.int32)
        strings = np.searchsorted(self.starts, places, side="right") - 1
        if on_boundary:
            strings = strings[self.boundaries[places]]
        return self.string_owners[strings]
