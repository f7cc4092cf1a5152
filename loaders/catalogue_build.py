"""Build a catalogue snapshot: a directory of arrays and blobs that API processes memory-map."""

from __future__ import annotations

import csv
import itertools
import math
import operator
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, time
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.catalogue import (
    CATEGORIES,
    Department,
    Division,
    Guide,
    LegalBasis,
    ServiceItem,
    level_of_division,
    parent_division_code,
)
from domain.text import compact, fold, has_chinese
from loaders.catalogue_files import (
    AUDIENCES,
    FORMAT,
    LEVELS,
    MANIFEST,
    NO_DEPTH,
    BlobReader,
    BlobWriter,
    Manifest,
    Record,
    SharedPart,
    SynonymRecord,
    TextRecord,
    days_of,
    id_hash,
)
from loaders.catalogue_suffixes import write_suffixes

_PROGRESS_EVERY = 2_000
_encoder = msgspec.msgpack.Encoder()
_CATEGORY_INDEX = {category.code: index for index, category in enumerate(CATEGORIES)}
_LEVEL_INDEX = {level: index for index, level in enumerate(LEVELS)}
_AUDIENCE_BIT = {audience: 1 << index for index, audience in enumerate(AUDIENCES)}


class DuplicateItemError(ValueError):
    """Two items of one snapshot have the same id."""


def quantise(score: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Bring a popularity score (0 or more) to 16 bits, 0 for the most popular; the order is kept."""
    steps = np.minimum(np.log2(1.0 + score) * 2_048.0, 65_535.0)
    return (65_535 - steps.astype(np.int64)).astype(np.uint64)


def build_snapshot(
    directory: Path,
    *,
    version: int,
    built_at: datetime,
    divisions: Iterable[Division],
    departments: Iterable[Department],
    legal_bases: Iterable[LegalBasis],
    guides: Iterable[tuple[str, Guide]],
    items: Iterable[ServiceItem],
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Write a snapshot into an empty or missing directory; the manifest comes last.

    `progress` gets the number of items taken in so far. Divisions and departments that items name but the
    lists lack are added with their code as the name.
    Raises: DuplicateItemError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    builder = _Builder(directory, divisions, departments)
    builder.add_legal_bases(legal_bases)
    builder.add_guides(guides)
    for count, item in enumerate(items, 1):
        builder.add_item(item)
        if progress is not None and count % _PROGRESS_EVERY == 0:
            progress(count)
    if progress is not None:
        progress(len(builder.ids))
    counts = builder.finish()
    manifest = Manifest(
        format=FORMAT,
        version=version,
        built_at=built_at,
        sizes={path.name: path.stat().st_size for path in sorted(directory.iterdir())},
        **counts,
    )
    (directory / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


class _Builder:
    """Takes items in any order; memory grows by some hundred bytes an item, records go to a file."""

    def __init__(
        self, directory: Path, divisions: Iterable[Division], departments: Iterable[Department]
    ) -> None:
        self._directory = directory
        self._divisions = {division.code: division for division in divisions}
        self._departments = {department.id: department for department in departments}
        self._unordered = BlobWriter(directory / "unordered.bin")
        self._shared = BlobWriter(directory / "shared.bin")
        self._shared_index: dict[bytes, int] = {}
        self._guides: dict[str, int] = {}
        self._texts: dict[tuple[str, tuple[str, ...]], int] = {}
        self._division_index: dict[str, int] = {}
        self._department_index: dict[str, int] = {}
        self._division_of_department: dict[str, str] = {}
        self._combos: dict[tuple[int, int, int, int], int] = {}
        self._legal_bases = 0
        self.ids: list[str] = []
        self._columns = {
            "division": array("i"),
            "department": array("i"),
            "text": array("i"),
            "combo": array("i"),
            "level": array("i"),
            "days": array("i"),
            "updated": array("q"),
        }

    def add_legal_bases(self, legal_bases: Iterable[LegalBasis]) -> None:
        bases = sorted(legal_bases, key=operator.attrgetter("id"))
        self._legal_bases = len(bases)
        (self._directory / "legal_ids.json").write_bytes(msgspec.json.encode([basis.id for basis in bases]))
        _write_blob(self._directory / "legal_bases.bin", map(_encoder.encode, bases))

    def add_guides(self, guides: Iterable[tuple[str, Guide]]) -> None:
        writer = BlobWriter(self._directory / "guides.bin")
        for guide_id, guide in guides:
            self._guides[guide_id] = writer.append(_encoder.encode(guide))
        writer.close()

    def add_item(self, item: ServiceItem) -> None:
        shared = _encoder.encode(SharedPart(item.places, item.consult, item.supervise, item.source))
        number = self._shared_index.get(shared)
        if number is None:
            number = self._shared_index[shared] = self._shared.append(shared)
        self._unordered.append(_encoder.encode(_record(item, self._guides.get(item.guide_id, -1), number)))
        self.ids.append(item.id)
        audiences = sum({_AUDIENCE_BIT[audience] for audience in item.audiences})
        depth = NO_DEPTH if item.online_depth is None else item.online_depth
        combo = (_CATEGORY_INDEX[item.category_code], _LEVEL_INDEX[item.level], audiences, depth)
        self._division_of_department.setdefault(item.department_id, item.division_code)
        columns = self._columns
        columns["division"].append(_number(self._division_index, item.division_code))
        columns["department"].append(_number(self._department_index, item.department_id))
        columns["text"].append(_number(self._texts, (item.name, item.keywords)))
        columns["combo"].append(_number(self._combos, combo))
        columns["level"].append(_LEVEL_INDEX[item.level])
        columns["days"].append(days_of(item.promised_limit))
        columns["updated"].append(_seconds(item))

    def finish(self) -> dict[str, int]:
        self._unordered.close()
        self._shared.close()
        columns = {name: np.frombuffer(column, column.typecode) if column else np.zeros(0, np.int64)
                   for name, column in self._columns.items()}  # fmt: skip
        texts, text_map, name_order = self._write_texts()
        division_map, division_count = self._write_divisions()
        department_map, department_count = self._write_departments()
        item_text = text_map[columns["text"]]
        division = division_map[columns["division"]]
        by_id = np.asarray(sorted(range(len(self.ids)), key=self.ids.__getitem__), np.int64)
        if any(self.ids[left] == self.ids[right] for left, right in itertools.pairwise(by_id.tolist())):
            raise DuplicateItemError("two items have the same id")
        id_order = np.empty(len(by_id), np.int64)
        id_order[by_id] = np.arange(len(by_id))
        level = columns["level"].astype(np.int64)
        ranked = np.lexsort((id_order, name_order[item_text], level))
        rank = np.empty(len(ranked), np.int64)
        rank[ranked] = np.arange(len(ranked))
        order = np.lexsort((rank, division))
        self._save(
            "division", np.searchsorted(division[order], np.arange(division_count + 1)).astype(np.int64)
        )
        self._save("department", department_map[columns["department"]][order].astype(np.int32))
        self._save("combo", columns["combo"][order].astype(np.int32))
        self._save("days", columns["days"][order].astype(np.uint32))
        self._save("updated", columns["updated"][order].astype(np.uint32))
        self._save("text", item_text[order].astype(np.int32))
        self._save_combos()
        self._save_texts_of_items(item_text[order], name_order)
        self._save_keys(item_text[order], rank[order], texts)
        self._save_ids(order)
        self._write_records(order)
        return {
            "items": len(order),
            "names": len(texts),
            "divisions": division_count,
            "departments": department_count,
            "guides": len(self._guides),
            "legal_bases": self._legal_bases,
        }

    def _save(self, name: str, values: NDArray[np.generic]) -> None:
        np.save(self._directory / f"items.{name}.npy", values)

    def _save_combos(self) -> None:
        rows = np.asarray(list(self._combos) or np.zeros((0, 4)), np.int32).reshape(-1, 4)
        np.save(self._directory / "combos.npy", rows)

    def _save_texts_of_items(self, item_text: NDArray[np.int64], name_order: NDArray[np.int64]) -> None:
        grouped = np.argsort(item_text, kind="stable")
        self._save("by_text", grouped.astype(np.int32))
        bounds = np.searchsorted(item_text[grouped], np.arange(len(name_order) + 1))
        np.save(self._directory / "texts.bounds.npy", bounds.astype(np.int64))
        np.save(self._directory / "texts.name_order.npy", name_order.astype(np.uint32))

    def _save_keys(
        self, item_text: NDArray[np.int64], rank: NDArray[np.int64], texts: list[TextRecord]
    ) -> None:
        """Save the sort key of every item without views, and each name's share of it.

        Until citizens' views tell better, what many divisions offer and what many people need counts as more
        popular; the whole of it weighs less than a handful of views.
        """
        counts = np.bincount(item_text, minlength=len(texts)) if len(texts) else np.zeros(0, np.int64)
        needs = _common_needs()
        prior = np.fromiter(
            (
                0.1 * math.log2(1 + count) + max((w for term, w in needs if term in text.name), default=0.0)
                for text, count in zip(texts, counts.tolist(), strict=True)
            ),
            np.float64,
            len(texts),
        )
        np.save(self._directory / "texts.prior.npy", prior)
        self._save("key", (quantise(prior[item_text]) << np.uint64(32)) | rank.astype(np.uint64))

    def _save_ids(self, order: NDArray[np.int64]) -> None:
        hashes = np.fromiter((id_hash(self.ids[index]) for index in order.tolist()), np.uint64, len(order))
        by_hash = np.argsort(hashes, kind="stable")
        np.save(self._directory / "ids.hash.npy", hashes[by_hash])
        np.save(self._directory / "ids.item.npy", by_hash.astype(np.int32))

    def _write_records(self, order: NDArray[np.int64]) -> None:
        path = self._directory / "unordered.bin"
        unordered = BlobReader(path)
        _write_blob(self._directory / "records.bin", (unordered[index] for index in order.tolist()))
        path.unlink()
        path.with_suffix(".offsets.npy").unlink()

    def _write_texts(self) -> tuple[list[TextRecord], NDArray[np.int64], NDArray[np.int64]]:
        """Write the name indexes; give the sorted texts, the map from arrival order, the order by name."""
        arrived = list(self._texts)
        folded = [compact(fold(name)) or name for name, _ in arrived]
        by_name = sorted(range(len(arrived)), key=lambda index: (folded[index], arrived[index]))
        text_map = np.empty(len(arrived), np.int64)
        text_map[np.asarray(by_name, np.int64)] = np.arange(len(arrived))
        texts = [TextRecord(*arrived[index], syllables_of(fold(arrived[index][0]))) for index in by_name]
        spelled = ["".join(spelling for spelling, _ in text.syllables) for text in texts]
        order = sorted(range(len(texts)), key=lambda index: (spelled[index], texts[index].name))
        name_order = np.empty(len(texts), np.int64)
        position = -1
        previous = None
        for index in order:
            if texts[index].name != previous:
                position, previous = position + 1, texts[index].name
            name_order[index] = position
        _write_blob(self._directory / "texts.bin", map(_encoder.encode, texts))
        write_suffixes(self._directory, "names", [folded[index] for index in by_name], range(len(texts)))
        self._write_keywords(texts)
        self._write_words(texts)
        return texts, text_map, name_order

    def _write_keywords(self, texts: list[TextRecord]) -> None:
        rows = [(owner, compact(fold(word))) for owner, text in enumerate(texts) for word in text.keywords]
        rows = [(owner, word) for owner, word in rows if word]
        write_suffixes(self._directory, "keywords", [word for _, word in rows], [owner for owner, _ in rows])
        spelled = [(owner, text.syllables) for owner, text in enumerate(texts)]
        spelled += [(owner, syllables_of(word)) for owner, word in rows]
        cleaned = [[part for part in syllables if part[0]] for _, syllables in spelled]
        owners = [owner for owner, _ in spelled]
        write_suffixes(
            self._directory,
            "pinyin",
            ["".join(spelling for spelling, _ in parts) for parts in cleaned],
            owners,
            width=1,
            boundaries=[
                list(itertools.accumulate((len(spelling) for spelling, _ in parts[:-1]), initial=0))
                if parts
                else []
                for parts in cleaned
            ],
        )
        initials = ["".join(map(_initial, parts)) for parts in cleaned]
        write_suffixes(self._directory, "initials", initials, owners, width=1)

    def _write_words(self, texts: list[TextRecord]) -> None:
        import rjieba  # noqa: PLC0415  only builders need its dictionary

        words: set[str] = set()
        for text in texts:
            for part in (text.name, *text.keywords):
                words.update(
                    word for word in rjieba.cut(compact(fold(part))) if len(word) > 1 and has_chinese(word)
                )
        vocabulary = sorted(words)
        payload = [(word, "".join(s for s, _ in syllables_of(word))) for word in vocabulary]
        (self._directory / "words.bin").write_bytes(_encoder.encode(payload))
        (self._directory / "synonyms.bin").write_bytes(_encoder.encode(read_synonyms()))

    def _write_divisions(self) -> tuple[NDArray[np.int64], int]:
        """Write divisions in preorder, so that everything below one is one range of items."""
        for code in list(self._division_index):
            self._add_missing_division(code)
        children: dict[str | None, list[Division]] = {}
        for division in sorted(self._divisions.values(), key=operator.attrgetter("code")):
            parent = division.parent_code if division.parent_code in self._divisions else None
            children.setdefault(parent, []).append(division)
        ordered = list(_preorder(children, None))
        completed = [
            division
            if division.pinyin
            else msgspec.structs.replace(
                division, pinyin=" ".join(_spell(division.short_name or division.name))
            )
            for division in ordered
        ]
        (self._directory / "divisions.bin").write_bytes(_encoder.encode(completed))
        position = {division.code: index for index, division in enumerate(completed)}
        arrived = np.asarray([position[code] for code in self._division_index], np.int64)
        return arrived, len(completed)

    def _add_missing_division(self, code: str) -> None:
        if code in self._divisions:
            return
        parent = parent_division_code(code)
        self._divisions[code] = Division(code, code, level_of_division(code), parent)
        if parent is not None:
            self._add_missing_division(parent)

    def _write_departments(self) -> tuple[NDArray[np.int64], int]:
        known = {key: one for key, one in self._departments.items() if one.division_code in self._divisions}
        for key, division_code in self._division_of_department.items():
            if key not in known:
                name = self._departments[key].name if key in self._departments else key
                known[key] = Department(key, name, division_code)
        everything = sorted(known.values(), key=operator.attrgetter("id"))
        _write_blob(self._directory / "departments.bin", map(_encoder.encode, everything))
        (self._directory / "department_ids.bin").write_bytes(_encoder.encode([d.id for d in everything]))
        names: dict[str, int] = {}
        name_of = [
            _number(names, compact(fold(department.name)) or department.id) for department in everything
        ]
        np.save(self._directory / "departments.name.npy", np.asarray(name_of, np.int32))
        write_suffixes(self._directory, "department_names", list(names), range(len(names)))
        position = {department.id: index for index, department in enumerate(everything)}
        arrived = np.asarray([position[key] for key in self._department_index], np.int64)
        return arrived, len(everything)


def _number(numbers: dict[Any, int], key: Any) -> int:
    """Number keys in the order of their arrival."""
    return numbers.setdefault(key, len(numbers))


def _write_blob(path: Path, records: Iterable[bytes]) -> None:
    writer = BlobWriter(path)
    writer.extend(records)
    writer.close()


def _record(item: ServiceItem, guide: int, shared: int) -> Record:
    return Record(
        item.id,
        item.type,
        guide,
        item.guide_id,
        shared,
        item.basic_code,
        item.implementation_code,
        item.handling_code,
        item.audiences,
        item.theme_codes,
        item.project_type,
        item.legal_limit,
        item.promised_limit,
        item.online_depth,
        item.visits,
        item.charges_fee,
        item.handling_forms,
        item.online_url,
        item.mobile_url,
        item.version,
        item.effective_on,
        item.updated_at,
    )


def _seconds(item: ServiceItem) -> int:
    """Give when an item was new, in seconds since 1970; 0 when nobody said so."""
    moment = item.updated_at
    if moment is None and item.effective_on is not None:
        moment = datetime.combine(item.effective_on, time(), UTC)
    return max(0, int(moment.timestamp())) if moment is not None else 0


def _preorder(children: dict[str | None, list[Division]], parent: str | None) -> Iterator[Division]:
    for division in children.get(parent, ()):
        yield division
        yield from _preorder(children, division.code)


def syllables_of(folded: str) -> tuple[tuple[str, int], ...]:
    """Spell a folded text: (pinyin, 1) a Chinese character, (letters and digits, length) any other run."""
    from pypinyin import lazy_pinyin  # noqa: PLC0415  56 MB that an API process need not carry

    pieces = lazy_pinyin(folded, errors=lambda run: "\1" + run)
    spelled: list[tuple[str, int]] = []
    for piece in pieces:
        if piece.startswith("\1"):
            run = piece[1:]
            spelled.append(("".join(c for c in run if c.isascii() and c.isalnum()), len(run)))
        else:
            spelled.append((piece, 1))
    return tuple(spelled)


def _spell(text: str) -> list[str]:
    return [spelling for spelling, _ in syllables_of(fold(text)) if spelling]


def _initial(part: tuple[str, int]) -> str:
    """Give a syllable's first letter; letters and digits of a name (A1, 65, ETC) are typed in full."""
    spelling, length = part
    return spelling if length > 1 or spelling.isdigit() else spelling[0]


def _read_data(name: str) -> list[list[str]]:
    text = resources.files("loaders.data").joinpath(name).read_text(encoding="utf-8")
    return [row for row in csv.reader(text.splitlines()) if row][1:]


def read_synonyms() -> list[SynonymRecord]:
    """Read the synonyms file: what people type, and the official forms separated by semicolons."""
    records = []
    for term, forms in _read_data("synonyms.csv"):
        folded = compact(fold(term))
        parts = [part for part in syllables_of(folded) if part[0]]
        official = tuple(compact(fold(form)) for form in forms.split(";") if form)
        records.append(
            SynonymRecord(folded, official, "".join(s for s, _ in parts), "".join(map(_initial, parts)))
        )
    return records


def _common_needs() -> list[tuple[str, float]]:
    """Read what most people come for: a part of a name, and its weight (0 to 3 views)."""
    return [(term, float(weight)) for term, weight in _read_data("common_needs.csv")]
