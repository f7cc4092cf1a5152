"""Import a catalogue: read, map, clean, compare, write; in bounded memory, going on where a killed one was.

Every row ends in exactly one count: imported + unchanged + stale + duplicates + rejected = lines.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from collections.abc import Mapping as Table
from contextlib import ExitStack, aclosing
from datetime import UTC, datetime
from io import BufferedRandom
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import orjson
from msgspec import Struct

from domain.catalogue import Division, ServiceItem
from domain.errors import DomainError
from feeds.catalogue_divisions import fujian, make_division, missing_parents
from feeds.catalogue_mapping import InvalidMappingError, Mapping, load_mapping
from feeds.catalogue_parse import ParsedRow, RowError, RowParser, with_themes
from feeds.catalogue_rows import RawRow, Reject, RejectCode
from feeds.catalogue_sources import Source, open_source
from store.catalogue import CatalogueStore, ItemState, KnownItem, WithdrawnBy, content_hash
from store.catalogue_imports import Checkpoint, Load, SeenRow

MAX_SHRINK: Final = 0.10
_BATCH = 1000
_SCAN_AFTER = 4_000
_SLICE = 16
_COUNTS = ("lines", "inserted", "updated", "unchanged", "stale", "duplicates", "rejected")


class CatalogueShrunkError(DomainError):
    """A full load lacks more than a tenth of its feed's items: none was withdrawn; force it if it is true."""

    code = "CATALOGUE_SHRUNK"


class ImportReport(Struct):
    """What an import did.

    `imported` = `inserted` + `updated`. `withdrawn`: items that a full load lacks, or that rows withdrew.
    `reasons`: rejects by code and field. `dropped`: values left out of items that were taken, by field.
    """

    feed: str
    load: str
    resumed: bool = False
    full: bool = False
    lines: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    stale: int = 0
    duplicates: int = 0
    rejected: int = 0
    withdrawn: int = 0
    guides: int = 0
    departments: int = 0
    divisions: int = 0
    elapsed_s: float = 0.0
    reasons: dict[str, int] = {}
    dropped: dict[str, int] = {}
    rejects_path: str = ""

    @property
    def imported(self) -> int:
        """Rows that were written."""
        return self.inserted + self.updated

    @property
    def changed(self) -> bool:
        """Tell whether readers would see a difference."""
        return bool(self.imported or self.withdrawn or self.guides or self.departments or self.divisions)


class ImportProgress(Struct, frozen=True):
    """How far an import is: `done` and `total` in bytes or rows of the file, total None if unknown."""

    file: str
    done: int
    total: int | None
    lines: int
    rejected: int


class _Batch(Struct):
    """Rows that were read together, parsed."""

    file: int
    position: int
    line: int
    lines: int
    rows: list[tuple[int, ParsedRow]]
    rejects: list[tuple[Reject, str]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KnownItem)


class _SeenIndex:
    """The rows of the running load, on disk: bounded memory however long the load."""

    def __init__(self, directory: Path) -> None:
        self._database = sqlite3.connect(
            directory / "seen.sqlite", check_same_thread=False, isolation_level=None
        )
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("PRAGMA cache_size=-16000")
        self._database.execute(
            "CREATE TABLE seen (id TEXT PRIMARY KEY, version INTEGER, themes TEXT, pending INTEGER,"
            " gone INTEGER) WITHOUT ROWID"
        )
        self._database.execute("CREATE TABLE guides (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("CREATE TABLE missing (id TEXT)")
        self._database.execute("CREATE TABLE known (id TEXT PRIMARY KEY, item BLOB) WITHOUT ROWID")

    def close(self) -> None:
        self._database.close()

    def find(self, ids: list[str]) -> dict[str, SeenRow]:
        found: dict[str, SeenRow] = {}
        for start in range(0, len(ids), 500):
            chunk = ids[start : start + 500]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT * FROM seen WHERE id IN ({marks})"  # noqa: S608 - question marks only
            found.update((row[0], _seen_row(row)) for row in self._database.execute(query, chunk))
        return found

    def put(self, rows: Iterable[SeenRow]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)",
            ((row.id, row.version, ",".join(row.themes), row.pending, row.gone) for row in rows),
        )
        self._database.execute("COMMIT")

    def iterate_pending(self) -> Iterator[list[SeenRow]]:
        cursor = self._database.execute("SELECT * FROM seen WHERE pending = 1")
        while rows := cursor.fetchmany(_BATCH):
            yield [_seen_row(row) for row in rows]

    def note_missing(self, ids: list[str]) -> int:
        """Note which ids the load has not seen and tell how many."""
        found = self.find(ids)
        missing = [(id_,) for id_ in ids if id_ not in found]
        self._database.executemany("INSERT INTO missing VALUES (?)", missing)
        return len(missing)

    def iterate_missing(self) -> Iterator[list[str]]:
        cursor = self._database.execute("SELECT id FROM missing")
        while rows := cursor.fetchmany(_BATCH):
            yield [id_ for (id_,) in rows]

    def put_known(self, items: Iterable[KnownItem]) -> None:
        self._database.execute("BEGIN")
        rows = ((item.id, _encoder.encode(item)) for item in items)
        self._database.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", rows)
        self._database.execute("COMMIT")

    def find_known(self, ids: list[str]) -> dict[str, KnownItem]:
        found: dict[str, KnownItem] = {}
        for start in range(0, len(ids), 500):
            chunk = ids[start : start + 500]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT item FROM known WHERE id IN ({marks})"  # noqa: S608 - question marks only
            items = (_decoder.decode(content) for (content,) in self._database.execute(query, chunk))
            found.update((item.id, item) for item in items)
        return found

    def new_guides(self, ids: Iterable[str]) -> set[str]:
        """Note guides as stored and give those that were not noted."""
        new = {
            id_
            for id_ in ids
            if self._database.execute("INSERT OR IGNORE INTO guides VALUES (?)", (id_,)).rowcount
        }
        return new


def _seen_row(row: tuple[str, int, str, int, int]) -> SeenRow:
    id_, version, themes, pending, gone = row
    return SeenRow(id_, version, tuple(filter(None, themes.split(","))), bool(pending), bool(gone))


class _RejectsFile:
    """The rejects as JSON lines; cut back to the last checkpoint when a load is gone on with."""

    def __init__(self, stream: BufferedRandom | None, size: int) -> None:
        self._stream = stream
        self.size = size
        if stream is not None:
            stream.seek(0, 2)
            self.size = min(size, stream.tell())
            stream.truncate(self.size)
            stream.seek(self.size)

    def write(self, rejects: Iterable[Reject]) -> None:
        content = b"".join(
            orjson.dumps(msgspec.to_builtins(reject), option=orjson.OPT_APPEND_NEWLINE) for reject in rejects
        )
        if self._stream is not None:
            self._stream.write(content)
            self._stream.flush()
        self.size += len(content)


async def import_catalogue(
    source: str | Path | Source,
    mapping: Mapping | str,
    store: CatalogueStore,
    *,
    full: bool = False,
    force: bool = False,
    rejects: Path | None = None,
    progress: Callable[[ImportProgress], None] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ImportReport:
    """Import a file, a folder, an http(s) address or a ready source into the store; nothing is published.

    `full`: the source is the feed's whole catalogue, what it lacks is withdrawn. `force`: even over a tenth.
    `rejects`: where rejected rows are listed, one JSON object a line. Going on with an unfinished load of the
    same source needs nothing but the same call.
    Raises: CatalogueShrunkError, InvalidMappingError, SourceError, UnreadableFileError, ImportRunningError.
    """
    mapping = load_mapping(mapping) if isinstance(mapping, str) else mapping
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mintong-import-")))
        async with open_source(source, mapping, work) as opened:
            digest = content_hash(mapping)
            imports = store.imports
            load = await imports.begin(mapping.feed, f"{opened.fingerprint}:{digest}:{full}", now=clock())
            try:
                importer = _Importer(opened, mapping, store, load, stack, work, clock)
                return await importer.run(full=full, force=force, rejects=rejects, progress=progress)
            finally:
                await imports.release(load, now=clock())


class _Importer:
    """One run of an import."""

    def __init__(
        self,
        source: Source,
        mapping: Mapping,
        store: CatalogueStore,
        load: Load,
        stack: ExitStack,
        work: Path,
        clock: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._mapping = mapping
        self._store = store
        self._imports = store.imports
        self._load = load
        self._stack = stack
        self._clock = clock
        self._seen = _SeenIndex(work)
        stack.callback(self._seen.close)
        self._report = ImportReport(mapping.feed, load.id, load.resumed)
        self._stored_departments: set[str] = set()
        self._changed: list[SeenRow] = []
        self._looked_up = 0
        self._scanned = False

    async def run(
        self,
        *,
        full: bool,
        force: bool,
        rejects: Path | None,
        progress: Callable[[ImportProgress], None] | None,
    ) -> ImportReport:
        started = monotonic()
        report = self._report
        report.full = full
        checkpoint = await self._recall()
        self._rejects = await asyncio.to_thread(self._open_rejects, rejects, checkpoint.rejects_bytes)
        self._is_first = not await self._store.has_items(self._mapping.feed)
        self._parser = RowParser(self._mapping, await self._divisions())
        if self._load.resumed:
            departments = await self._store.list_departments()
            self._parser.departments = {department.id: department for department in departments}
            self._stored_departments = set(self._parser.departments)
        async with aclosing(self._batches(checkpoint)) as batches:
            async for batch in batches:
                await self._take(batch)
                checkpoint = await self._save(checkpoint, batch)
                if progress is not None:
                    progress(self._progress(batch))
        await self._settle_themes()
        if full:
            await self._withdraw_missing(force=force)
        report.elapsed_s = round(monotonic() - started, 3)
        report.dropped = dict(self._parser.dropped)
        report.rejects_path = str(rejects) if rejects is not None else ""
        total = report.imported + report.unchanged + report.stale + report.duplicates + report.rejected
        if total != report.lines:
            raise RuntimeError(f"{total} rows accounted for, {report.lines} read")
        if report.changed:
            await self._store.mark_pending()
        await self._imports.finish(self._load, msgspec.to_builtins(report), now=self._clock())
        return report

    # Before

    async def _recall(self) -> Checkpoint:
        checkpoint = await self._imports.find_checkpoint(self._load) if self._load.resumed else None
        if checkpoint is None:
            return Checkpoint(0, 0, 0, 0, 0, {})
        async for rows in self._imports.iterate_seen(self._load):
            await asyncio.to_thread(self._seen.put, rows)
        for name, count in checkpoint.counts.items():
            if name in _COUNTS or name in ("withdrawn", "guides", "departments", "divisions"):
                setattr(self._report, name, count)
            else:
                self._report.reasons[name.removeprefix("reason:")] = count
        return checkpoint

    def _open_rejects(self, path: Path | None, size: int) -> _RejectsFile:
        if path is None:
            return _RejectsFile(None, size)
        path.touch()
        return _RejectsFile(self._stack.enter_context(path.open("r+b")), size)

    async def _divisions(self) -> list[Division]:
        rules = self._mapping.division
        divisions = {division.code: division for division in await self._store.list_divisions()}
        own = {division.code: division for table in rules.tables for division in _TABLES[table]()}
        for declared in rules.declared:
            division = make_division(declared.code, declared.name)
            own[division.code] = division
        divisions.update(own)
        if missing := missing_parents(divisions.values()):
            reason = f"divisions without their parents: {', '.join(sorted(missing))}"
            raise InvalidMappingError(mapping=self._mapping.name, reason=reason)
        result = await self._store.upsert_divisions(own.values())
        self._report.divisions += result.inserted + result.updated
        return list(divisions.values())

    # Reading

    async def _batches(self, checkpoint: Checkpoint) -> AsyncGenerator[_Batch]:
        """Yield parsed batches; the next one is parsed while this one is written."""
        for file in range(checkpoint.file, len(self._source.names)):
            resumes = file == checkpoint.file
            start, line = (checkpoint.position, checkpoint.line) if resumes else (0, 0)
            rows = self._source.rows(file, start=start, line=line)
            parsing = asyncio.create_task(self._parse(rows, file))
            try:
                while (batch := await parsing) is not None:
                    parsing = asyncio.create_task(self._parse(rows, file))
                    yield batch
            finally:
                parsing.cancel()
                await asyncio.gather(parsing, return_exceptions=True)

    async def _parse(self, rows: Iterator[RawRow], file: int) -> _Batch | None:
        """Parse a batch in small slices.

        Between them the loop goes on with the writes: a thread would fight with it for the interpreter, which
        costs more than it gains.
        """
        name = self._source.names[file]
        batch = _Batch(file, 0, 0, 0, [], [])
        # Opening may take long: a workbook's texts are all read at once.
        raw = await asyncio.to_thread(next, rows, None)
        while raw is not None:
            batch.lines += 1
            batch.line, batch.position = raw.line, raw.position
            if raw.reject is not None:
                batch.rejects.append((raw.reject, ""))
            else:
                try:
                    batch.rows.append((raw.line, self._parser.parse(raw.values or {})))
                except RowError as error:
                    reject = Reject(name, raw.line, error.field, error.code, error.reason)
                    batch.rejects.append((reject, error.item_id))
            if batch.lines == _BATCH:
                break
            if batch.lines % _SLICE == 0:
                await asyncio.sleep(0)
            raw = next(rows, None)
        return batch if batch.lines else None

    # Writing

    async def _take(self, batch: _Batch) -> None:
        report = self._report
        report.lines += batch.lines
        ids = list(dict.fromkeys(row.item.id for _, row in batch.rows))
        ids += [item_id for _, item_id in batch.rejects if item_id]
        seen = await asyncio.to_thread(self._seen.find, ids)
        changed: dict[str, SeenRow] = {}
        chosen = self._choose(batch, seen, changed)
        known = await self._look_up(chosen, seen)
        withdrawn = {id_ for id_, (_, row) in chosen.items() if row.withdrawn}
        items = [
            self._keep_themes(row.item, known.get(id_), changed)
            for id_, (_, row) in chosen.items()
            if not row.withdrawn
        ]
        await self._store_shared(batch)
        result = await self._store.upsert_items(
            items, feed=self._mapping.feed, load=self._load.id, known=known
        )
        report.inserted += result.inserted
        report.updated += result.updated
        report.unchanged += result.unchanged
        report.stale += result.stale
        await self._withdraw_rows(withdrawn, {id_: row for id_, (_, row) in chosen.items()})
        for id_ in result.foreign:
            reason = "the id belongs to an item of another feed"
            line = chosen[id_][0]
            name = self._source.names[batch.file]
            batch.rejects.append((Reject(name, line, "id", RejectCode.ID_OF_ANOTHER_FEED, reason), ""))
        self._reject(batch, seen, changed)
        await asyncio.to_thread(self._seen.put, changed.values())
        self._changed = list(changed.values())

    async def _look_up(self, ids: Iterable[str], seen: Table[str, SeenRow]) -> dict[str, KnownItem]:
        """Find out what is stored, one by one at first, from one scan of all once that pays.

        What this load has written itself is asked for again: the scan is older. In a feed without any item
        nothing else can be stored.
        """
        again = [id_ for id_ in ids if id_ in seen]
        known = await self._store.find_known(again)
        others = [id_ for id_ in ids if id_ not in seen]
        if self._is_first or not others:
            return known
        if self._scanned:
            return known | await asyncio.to_thread(self._seen.find_known, others)
        self._looked_up += len(others)
        if self._looked_up > _SCAN_AFTER:
            await self._scan()
        return known | await self._store.find_known(others)

    async def _scan(self) -> None:
        chunk: list[KnownItem] = []
        async for item in self._store.iterate_known():
            chunk.append(item)
            if len(chunk) == _BATCH:
                await asyncio.to_thread(self._seen.put_known, chunk)
                chunk = []
        await asyncio.to_thread(self._seen.put_known, chunk)
        self._scanned = True

    def _choose(
        self, batch: _Batch, seen: dict[str, SeenRow], changed: dict[str, SeenRow]
    ) -> dict[str, tuple[int, ParsedRow]]:
        """Keep one row per id: the first of the newest version; themes of the others are merged."""
        chosen: dict[str, tuple[int, ParsedRow]] = {}
        for line, row in batch.rows:
            item = row.item
            before = changed.get(item.id) or seen.get(item.id)
            if before is None:
                chosen[item.id] = (line, row)
                changed[item.id] = SeenRow(item.id, item.version, item.theme_codes, gone=row.withdrawn)
                continue
            themes = tuple(dict.fromkeys(before.themes + item.theme_codes))
            if item.version < before.version:
                self._report.stale += 1
                continue
            is_newer = item.version > before.version or row.withdrawn != before.gone
            grows = themes != before.themes
            if is_newer:
                # The version it replaces counts as a duplicate when it was waiting in this batch.
                self._report.duplicates += item.id in chosen
                chosen[item.id] = (line, row)
            else:
                self._report.duplicates += 1
            if is_newer or grows:
                pending = before.pending or grows
                changed[item.id] = SeenRow(item.id, item.version, themes, pending, row.withdrawn)
        return chosen

    def _keep_themes(
        self, item: ServiceItem, known: KnownItem | None, changed: dict[str, SeenRow]
    ) -> ServiceItem:
        """Give an item the themes of all its rows so far, and until the load is through those stored.

        Otherwise the same file would change an item at its first row and change it back at its second.
        """
        seen = changed[item.id]
        if known is not None and item.version < known.version:
            changed[item.id] = SeenRow(item.id, item.version)  # stale: its themes do not count
            return item
        stored = known.theme_codes if known is not None else ()
        themes = tuple(dict.fromkeys((*stored, *seen.themes)))
        changed[item.id] = SeenRow(item.id, seen.version, seen.themes, set(themes) != set(seen.themes))
        return item if themes == item.theme_codes else with_themes(self._parser, item, themes)

    async def _store_shared(self, batch: _Batch) -> None:
        shared = {row.shared.id: row.shared for _, row in batch.rows}
        new = await asyncio.to_thread(self._seen.new_guides, shared)
        if new:
            bases = {basis.id: basis for id_ in new for basis in shared[id_].legal_bases}
            await self._store.add_legal_bases(bases.values())
            self._report.guides += await self._store.add_guides({id_: shared[id_].guide for id_ in new})
        parser = self._parser
        if parser.new_divisions:
            fresh = [parser.new_divisions.pop(code) for code in list(parser.new_divisions)]
            divisions = await self._store.upsert_divisions(fresh)
            self._report.divisions += divisions.inserted + divisions.updated
        ids = {row.item.department_id for _, row in batch.rows} - self._stored_departments
        departments = [parser.departments[id_] for id_ in ids]
        self._stored_departments |= ids
        result = await self._store.upsert_departments(departments)
        self._report.departments += result.inserted + result.updated

    async def _withdraw_rows(self, ids: set[str], rows: dict[str, ParsedRow]) -> None:
        """Withdraw what rows say is gone: a change counts as updated, nothing to change as unchanged."""
        if not ids:
            return
        known = await self._store.find_known(ids)
        own = {
            id_
            for id_, item in known.items()
            if item.feed == self._mapping.feed and item.version <= rows[id_].item.version
        }
        stale = {id_ for id_, item in known.items() if item.version > rows[id_].item.version}
        in_use = [id_ for id_ in own if known[id_].state is ItemState.IN_USE]
        count = await self._store.withdraw(in_use, now=self._clock(), by=WithdrawnBy.FEED) if in_use else 0
        self._report.withdrawn += count
        self._report.updated += count
        self._report.stale += len(stale)
        self._report.unchanged += len(ids) - count - len(stale)

    def _reject(self, batch: _Batch, seen: dict[str, SeenRow], changed: dict[str, SeenRow]) -> None:
        self._rejects.write(reject for reject, _ in batch.rejects)
        self._report.rejected += len(batch.rejects)
        for reject, item_id in batch.rejects:
            reason = f"{reject.code}:{reject.field}" if reject.field else str(reject.code)
            self._report.reasons[reason] = self._report.reasons.get(reason, 0) + 1
            if item_id and item_id not in seen and item_id not in changed:
                # A dirty row is no reason to withdraw the item: it is there.
                changed[item_id] = SeenRow(item_id, 0)

    async def _save(self, before: Checkpoint, batch: _Batch) -> Checkpoint:
        report = self._report
        counts = {
            name: getattr(report, name)
            for name in (*_COUNTS, "withdrawn", "guides", "departments", "divisions")
        }
        counts |= {f"reason:{name}": count for name, count in report.reasons.items()}
        checkpoint = Checkpoint(
            before.number + 1, batch.file, batch.position, batch.line, self._rejects.size, counts
        )
        await self._imports.save_checkpoint(self._load, checkpoint, self._changed, now=self._clock())
        return checkpoint

    def _progress(self, batch: _Batch) -> ImportProgress:
        total = self._source.sizes[batch.file]
        name = self._source.names[batch.file]
        return ImportProgress(name, batch.position, total, self._report.lines, self._report.rejected)

    # After

    async def _settle_themes(self) -> None:
        """Bring items whose rows stand in several themes to exactly the themes of this load."""
        pending = self._seen.iterate_pending()
        while rows := await asyncio.to_thread(next, pending, None):
            themes = {row.id: row.themes for row in rows}
            items = [
                with_themes(self._parser, item, themes[item.id])
                for item in await self._store.list_items(themes)
                if set(item.theme_codes) != set(themes[item.id])
            ]
            await self._store.upsert_items(items, feed=self._mapping.feed, load=self._load.id)

    async def _withdraw_missing(self, *, force: bool) -> None:
        count = missing = 0
        chunk: list[str] = []
        async for id_ in self._store.iterate_ids(self._mapping.feed):
            count += 1
            chunk.append(id_)
            if len(chunk) == _BATCH:
                missing += await asyncio.to_thread(self._seen.note_missing, chunk)
                chunk = []
        missing += await asyncio.to_thread(self._seen.note_missing, chunk)
        if missing > MAX_SHRINK * count and not force:
            raise CatalogueShrunkError(feed=self._mapping.feed, missing=missing, items=count)
        gone = self._seen.iterate_missing()
        while ids := await asyncio.to_thread(next, gone, None):
            self._report.withdrawn += await self._store.withdraw(ids, now=self._clock(), by=WithdrawnBy.FEED)


_TABLES: dict[str, Callable[[], list[Division]]] = {"fujian": fujian}
