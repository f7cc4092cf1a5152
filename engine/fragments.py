"""Stored JSON of public, versioned entities, spliced into answers.

An entry is found by the entity's type, identity, version and selection, the variables used in the selection
and, where the policy says so, the language. Each snapshot has entries of its own: nothing outlives a publish.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any

from msgspec import Raw, Struct

from engine.frames import SUBSET
from engine.keys import UnfreezableError, freeze
from engine.markers import Rest
from engine.plan import Column, FragmentKey, Frame, LevelPlan
from engine.result import dump_rows
from engine.runtime import Run

_ENTRY_BYTES = 400
"""Counted for each entry beside its JSON: the key, the objects around it, its place in the queue."""
_TABLE_BYTES = 1024
_MAX_GENERATIONS = 2
_EMPTY: dict[Any, Raw] = {}


class RequestScope(Struct, frozen=True, gc=False):
    """What of a request decides which stored values it may see."""

    snapshot: Hashable
    """The versions of the public data that this request reads, the same from its start to its end."""
    language: str | None


class _Generation:
    """The entries of one snapshot."""

    __slots__ = ("bytes", "queue", "tables")

    def __init__(self) -> None:
        self.tables: dict[tuple[Hashable, ...], dict[Any, Raw]] = {}
        self.queue: deque[tuple[tuple[Hashable, ...], Any, int]] = deque()
        self.bytes = 0

    def put(self, table_key: tuple[Hashable, ...], key: Any, fragment: Raw, size: int) -> None:
        table = self.tables.get(table_key)
        if table is None:
            table = self.tables[table_key] = {}
            self.bytes += _table_size(table_key)
        if key not in table:
            table[key] = fragment
            self.queue.append((table_key, key, size))
            self.bytes += size

    def drop_oldest(self) -> None:
        table_key, key, size = self.queue.popleft()
        self.bytes -= size
        table = self.tables[table_key]
        del table[key]
        if not table:
            del self.tables[table_key]
            self.bytes -= _table_size(table_key)


class FragmentCache:
    """Keep the JSON of entities, at most `max_bytes` of it; the oldest entries go first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._generations: OrderedDict[Hashable, _Generation] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Return the bytes held, with an allowance for the objects around them."""
        return sum(generation.bytes for generation in self._generations.values())

    def __len__(self) -> int:
        return sum(len(generation.queue) for generation in self._generations.values())

    def clear(self) -> None:
        """Forget everything."""
        self._generations.clear()

    def wrap(self, level: LevelPlan) -> None:
        """Put the cache in front of a level whose objects are entities."""
        if level.fragment is not None:
            level.run = self._cached(level, level.fragment)

    def _cached(self, level: LevelPlan, fragment: FragmentKey) -> Callable[..., Any]:
        identity = fragment.identity

        def run_cached(objects: Column, run: Run, frame: Frame | None) -> Column | Rest:
            scope: RequestScope | None = run.settings
            if scope is None:
                return level.plain_run(objects, run, frame)
            try:
                table_key = _table_key(fragment, run, scope)
                generation = self._generation(scope.snapshot)
                keys = [*map(identity, objects)]
                found: Column = [*map(generation.tables.get(table_key, _EMPTY).get, keys)]
            except Exception:  # noqa: BLE001 what cannot be identified is completed like any other object
                return level.plain_run(objects, run, frame)
            if all(found):
                self.hits += len(found)
                run.ready.append((frame, found))
                return found
            missing = [i for i, each in enumerate(found) if each is None]
            self.misses += len(missing)
            failures = len(run.failures)
            if len(missing) == len(objects):
                rows = level.plain_run(objects, run, frame)
            else:
                self.hits += len(found) - len(missing)
                run.ready.append((frame, [*found]))
                below: Frame = [None, SUBSET, (frame, missing), None]
                rows = level.plain_run([objects[i] for i in missing], run, below)

            def keep(rows: Column) -> Column:
                sound = len(run.failures) == failures
                for i, row in zip(missing, rows, strict=True):
                    found[i] = self._keep(generation, table_key, keys[i], row) if sound else row
                return found

            return Rest(_then, rows, keep) if isinstance(rows, Rest) else keep(rows)

        return run_cached

    def _keep(self, generation: _Generation, table_key: tuple[Hashable, ...], key: Any, row: Any) -> Any:
        if row is None:
            return row
        try:
            body = dump_rows(row)
        except TypeError:
            return row
        fragment = Raw(body)
        generation.put(table_key, key, fragment, len(body) + _ENTRY_BYTES)
        while self.bytes > self.max_bytes:
            oldest = next(iter(self._generations))
            if self._generations[oldest].queue:
                self._generations[oldest].drop_oldest()
            else:
                del self._generations[oldest]
        return fragment

    def _generation(self, snapshot: Hashable) -> _Generation:
        generation = self._generations.get(snapshot)
        if generation is None:
            generation = self._generations[snapshot] = _Generation()
            while len(self._generations) > _MAX_GENERATIONS:
                self._generations.popitem(last=False)
        return generation


async def _then(rows: Rest, keep: Callable[[Column], Column]) -> Column:
    return keep(await rows)


def _table_size(table_key: tuple[Hashable, ...]) -> int:
    return _TABLE_BYTES + 2 * len(str(table_key))


def _table_key(fragment: FragmentKey, run: Run, scope: RequestScope) -> tuple[Hashable, ...]:
    language = scope.language if fragment.language else None
    if not fragment.variables:
        return (fragment.selection, language)
    given = run.vars
    values = tuple((name, freeze(given[name])) for name in fragment.variables if name in given)
    return (fragment.selection, language, values)


__all__ = ["FragmentCache", "RequestScope", "UnfreezableError"]
