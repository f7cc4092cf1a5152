"""The memory-mapped tables of a snapshot: arrays by item, records, names, divisions, departments."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.catalogue import Department, Division, Guide, LegalBasis, Level
from loaders.catalogue_files import (
    AUDIENCES,
    FORMAT,
    LEVELS,
    MANIFEST,
    BlobReader,
    Manifest,
    Record,
    SharedPart,
    SnapshotUnreadableError,
    TextRecord,
    id_hash,
    read_array,
)

_EMPTY_GUIDE = Guide()
_CACHED_TEXTS = 4_096
_RECORD_HEADER = 3  # bytes that MessagePack takes to open an array of 16 fields or more


class CatalogueTables:
    """Everything a snapshot's files hold; shared by all overlays of the snapshot."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest = _read_manifest(directory)

        def load(name: str) -> NDArray[Any]:
            return read_array(directory / f"{name}.npy")

        self.item_text: NDArray[np.int32] = load("items.text")
        self.item_department: NDArray[np.int32] = load("items.department")
        self.item_combo: NDArray[np.int32] = load("items.combo")
        self.item_days: NDArray[np.uint32] = load("items.days")
        self.item_updated: NDArray[np.uint32] = load("items.updated")
        self.item_key: NDArray[np.uint64] = load("items.key")
        self.items_by_text: NDArray[np.int32] = load("items.by_text")
        self.text_bounds: NDArray[np.int64] = load("texts.bounds")
        self.text_name_order: NDArray[np.uint32] = load("texts.name_order")
        self.text_prior: NDArray[np.float64] = load("texts.prior")
        # Rows of (category, level, audience bits, online depth); few are distinct.
        self.combos: NDArray[np.int32] = np.array(load("combos"))
        # A column for each audience, 1 where a combination serves it.
        self.combo_audiences = (self.combos[:, 2:3] >> np.arange(len(AUDIENCES))) & 1
        self.division_bounds: NDArray[np.int64] = np.array(load("items.division"))
        self._division_bounds: list[int] = self.division_bounds.tolist()
        self._hashes = memoryview(load("ids.hash").data)
        self._hash_items = memoryview(load("ids.item").data)
        self._open_blobs(directory)
        self._open_divisions(directory)
        self.legal_ids: list[str] = json.loads((directory / "legal_ids.json").read_bytes())
        self.department_ids: list[str] = msgspec.msgpack.decode(
            (directory / "department_ids.bin").read_bytes(), type=list[str]
        )
        self.department_name: NDArray[np.int32] = load("departments.name")
        self.item_count = len(self.item_text)

    def _open_blobs(self, directory: Path) -> None:
        self._records = BlobReader(directory / "records.bin")
        self._shared = BlobReader(directory / "shared.bin")
        self._guides = BlobReader(directory / "guides.bin")
        self._legal = BlobReader(directory / "legal_bases.bin")
        self._texts = BlobReader(directory / "texts.bin")
        self._departments = BlobReader(directory / "departments.bin")
        self._decode_record = msgspec.msgpack.Decoder(Record).decode
        self._decode_shared = msgspec.msgpack.Decoder(SharedPart).decode
        self._decode_guide = msgspec.msgpack.Decoder(Guide).decode
        self._decode_legal = msgspec.msgpack.Decoder(LegalBasis).decode
        decode_text = msgspec.msgpack.Decoder(TextRecord).decode
        texts = self._texts
        # Gives a name with its keywords by number; names come back on page after page.
        self.text: Callable[[int], TextRecord] = lru_cache(_CACHED_TEXTS)(
            lambda number: decode_text(texts[number])
        )
        self._decode_department = msgspec.msgpack.Decoder(Department).decode

    def _open_divisions(self, directory: Path) -> None:
        self.divisions = msgspec.msgpack.decode(
            (directory / "divisions.bin").read_bytes(), type=list[Division]
        )
        self.division_index = {division.code: index for index, division in enumerate(self.divisions)}
        self.parents = [
            self.division_index.get(division.parent_code or "", -1) for division in self.divisions
        ]
        self.children: list[list[int]] = [[] for _ in self.divisions]
        self.roots: list[int] = []
        for index, parent in enumerate(self.parents):
            (self.children[parent] if parent >= 0 else self.roots).append(index)
        # Divisions are in preorder: what lies below one ends before the next that is not below it.
        self.subtree_end = [index + 1 for index in range(len(self.divisions))]
        for index in range(len(self.divisions) - 1, -1, -1):
            if self.children[index]:
                self.subtree_end[index] = self.subtree_end[self.children[index][-1]]

    def record(self, item: int) -> Record:
        """Decode an item's own record."""
        return self._decode_record(self._records[item])

    def shared_part(self, number: int) -> SharedPart:
        """Decode a shared part."""
        return self._decode_shared(self._shared[number])

    def guide(self, number: int) -> Guide:
        """Decode a guide; an empty one for items whose guide is unknown (-1)."""
        return self._decode_guide(self._guides[number]) if number >= 0 else _EMPTY_GUIDE

    def legal_bases_of(self, ids: tuple[str, ...]) -> tuple[LegalBasis, ...]:
        """Give the legal bases that are known, in the order of the ids."""
        bases = []
        for wanted in ids:
            at = bisect_left(self.legal_ids, wanted)
            if at < len(self.legal_ids) and self.legal_ids[at] == wanted:
                bases.append(self._decode_legal(self._legal[at]))
        return tuple(bases)

    def text_of(self, item: int) -> int:
        """Give the number of an item's name."""
        return int(self.item_text[item])

    def level_of(self, item: int) -> Level:
        """Give an item's level."""
        return LEVELS[int(self.combos[self.item_combo[item], 1])]

    def department(self, number: int) -> Department:
        """Decode a department."""
        return self._decode_department(self._departments[number])

    def find_item(self, item_id: str) -> int | None:
        """Find an item's place by its id."""
        wanted = id_hash(item_id)
        key = msgspec.msgpack.encode(item_id)
        at = bisect_left(self._hashes, wanted)
        while at < len(self._hashes) and self._hashes[at] == wanted:
            item: int = self._hash_items[at]
            # The id is a record's first field: comparing its bytes spares decoding the rest.
            if self._records[item].startswith(key, _RECORD_HEADER):
                return item
            at += 1
        return None

    def find_department(self, department_id: str) -> int | None:
        """Find a department's number by its id."""
        at = bisect_left(self.department_ids, department_id)
        known = at < len(self.department_ids) and self.department_ids[at] == department_id
        return at if known else None

    def range_of(self, division: int) -> tuple[int, int]:
        """Give the range of items in a division itself."""
        return self._division_bounds[division], self._division_bounds[division + 1]

    def range_below(self, division: int) -> tuple[int, int]:
        """Give the range of items below a division, itself excluded."""
        return self._division_bounds[division + 1], self._division_bounds[self.subtree_end[division]]

    def division_of(self, item: int) -> int:
        """Give the number of an item's division."""
        return bisect_right(self._division_bounds, item) - 1


def _read_manifest(directory: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise SnapshotUnreadableError(reason="manifest") from error
    if manifest.format != FORMAT:
        raise SnapshotUnreadableError(reason="format", format=manifest.format)
    for name, size in manifest.sizes.items():
        path = directory / name
        if not path.is_file() or path.stat().st_size != size:
            raise SnapshotUnreadableError(reason="file", file=name)
    return manifest
