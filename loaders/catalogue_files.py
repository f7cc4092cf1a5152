"""The files of a catalogue snapshot: arrays, blobs of records, the manifest."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterable
from datetime import date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.catalogue import (
    Audience,
    DayKind,
    HandlingForm,
    ItemType,
    Level,
    Place,
    ProjectType,
    TimeLimit,
)
from domain.errors import DomainError

FORMAT = 1
LEVELS: tuple[Level, ...] = tuple(Level)
AUDIENCES: tuple[Audience, ...] = tuple(Audience)
TYPES: tuple[ItemType, ...] = tuple(ItemType)
NO_DEPTH = 255
MANIFEST = "manifest.json"


class SnapshotUnreadableError(DomainError):
    """A snapshot directory that is incomplete, damaged or of another format."""

    code = "SNAPSHOT_UNREADABLE"


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot holds; written last, so a directory with a manifest is complete."""

    format: int
    version: int
    built_at: datetime
    items: int
    names: int
    divisions: int
    departments: int
    guides: int
    legal_bases: int
    sizes: dict[str, int]


class SharedPart(msgspec.Struct, frozen=True, array_like=True):
    """What the items of one department often have in common; stored once per distinct content."""

    places: tuple[Place, ...]
    consult: str
    supervise: str
    source: str


class Record(msgspec.Struct, frozen=True, array_like=True):
    """An item's own record; what the arrays and shared parts tell is left out."""

    id: str
    type: ItemType
    guide: int
    guide_id: str
    shared: int
    basic_code: str
    implementation_code: str
    handling_code: str
    audiences: tuple[Audience, ...]
    theme_codes: tuple[str, ...]
    project_type: ProjectType | None
    legal_limit: TimeLimit | None
    promised_limit: TimeLimit | None
    online_depth: int | None
    visits: int | None
    charges_fee: bool | None
    handling_forms: tuple[HandlingForm, ...]
    online_url: str
    mobile_url: str
    version: int
    effective_on: date | None
    updated_at: datetime | None


class TextRecord(msgspec.Struct, frozen=True, array_like=True):
    """A distinct name with its keywords. `syllables` align with the folded name: (spelling, characters)."""

    name: str
    keywords: tuple[str, ...]
    syllables: tuple[tuple[str, int], ...]


class SynonymRecord(msgspec.Struct, frozen=True, array_like=True):
    """What people type, and the official forms; no forms: a phrase to be passed over."""

    term: str
    forms: tuple[str, ...]
    pinyin: str
    initials: str


def id_hash(item_id: str) -> int:
    """Hash an item's id to 64 bits, the same in every process."""
    return int.from_bytes(blake2b(item_id.encode(), digest_size=8).digest(), "little")


def days_of(limit: TimeLimit | None) -> int:
    """Give a limit in tenths of calendar days for ordering; 65535 when not stated."""
    if limit is None:
        return 65_535
    return min(65_534, limit.days * (14 if limit.kind is DayKind.WORKING else 10))


def read_array(path: Path) -> NDArray[Any]:
    """Memory-map one array, read only."""
    loaded: NDArray[Any] = np.load(path, mmap_mode="r")
    if not loaded.size:
        return np.zeros(loaded.shape, loaded.dtype)
    return loaded.view(np.ndarray)


class BlobWriter:
    """Writes records one after the other; `offsets` tell where each begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=1 << 20)
        self._at = 0
        self._offsets = array("q", [0])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, record: bytes) -> int:
        """Write a record and give its number."""
        self._file.write(record)
        self._at += len(record)
        self._offsets.append(self._at)
        return len(self._offsets) - 2

    def extend(self, records: Iterable[bytes]) -> None:
        """Write records in order."""
        for record in records:
            self.append(record)

    def close(self) -> None:
        """Finish both files."""
        self._file.close()
        np.save(self._path.with_suffix(".offsets.npy"), np.frombuffer(self._offsets, np.int64))


class BlobReader:
    """Reads records from a memory-mapped file."""

    __slots__ = ("_data", "_offsets")

    def __init__(self, path: Path) -> None:
        self._offsets = read_array(path.with_suffix(".offsets.npy")).data
        with path.open("rb") as file:
            # An empty file cannot be mapped.
            empty = path.stat().st_size == 0
            self._data: mmap.mmap | bytes = (
                b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        return self._data[self._offsets[index] : self._offsets[index + 1]]
