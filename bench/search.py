"""Measure the catalogue's search beside scanning all titles and SQLite FTS5, in one run.

    python -m bench.search [--items N] [--distinct] [--rounds R] [--keep DIRECTORY]

The search does all of it: tiers, pinyin, synonyms, slips, filters, six facets, highlights, cursors, a page of
20 items with department and division. The two others get the part of the queries that they can answer at all
(Chinese, without slips) and give 20 ids, the total and the count per category.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.catalogues import build_demo
from domain.catalogue import Audience, Level
from domain.text import has_chinese
from loaders.catalogue_snapshot import CatalogueSnapshot, SearchFilter, SearchQuery

SEED = 20261122
TYPED = Path(__file__).with_name("queries.txt")


def queries(snapshot: CatalogueSnapshot, count: int = 240) -> list[SearchQuery]:
    """Make a mixed list of queries, the same for the same catalogue."""
    dice = random.Random(SEED)
    names = [snapshot.tables.text(dice.randrange(snapshot.tables.manifest.names)).name for _ in range(400)]
    typed = TYPED.read_text(encoding="utf-8").splitlines()
    texts = [*(text for text in typed if not text.startswith("#")), "", "", "", "证", "登记"]
    for name in names:
        size = dice.randint(2, 6)
        at = dice.randint(0, max(0, len(name) - size))
        texts.append(name[at : at + size])
        if len(texts) >= count - 20:
            break
    texts.extend(names[:20])
    return [
        SearchQuery(text, filter_) for text, filter_ in zip(texts, _filters(snapshot, dice), strict=False)
    ]


def _filters(snapshot: CatalogueSnapshot, dice: random.Random) -> Iterator[SearchFilter]:
    """Half of the queries come from a citizen with a division, every fourth has a filter more."""
    codes = [division.code for division in snapshot.divisions if division.level is Level.COUNTY]
    categories = [category.code for category in snapshot.categories if category.item_count]
    for number in itertools.count():
        division = dice.choice(codes) if number % 2 else None
        extra = number // 2 % 8
        yield SearchFilter(
            division_code=division,
            category_codes=tuple(dice.sample(categories, 3)) if extra == 1 else (),
            levels=(Level.COUNTY, Level.CITY) if extra == 3 else (),
            audience=Audience.PERSON if extra == 5 else None,
            online_depth=3 if extra == 5 else None,
        )


def run_full(snapshot: CatalogueSnapshot, query: SearchQuery) -> int:
    """Search and read everything that a page of results shows."""
    page = snapshot.search(query)
    facets = page.facets
    for edge in page.edges:
        node = edge.node
        _ = (node.id, node.name, node.category.name, node.division.name, node.department.name)
        _ = (node.promised_limit, edge.highlights, edge.cursor)
    _ = (page.page_info, facets.categories)
    return page.total_count


class Scan:
    """Looks at every title."""

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        self._rows = rows

    def run(self, text: str) -> int:
        hits = [index for index, (name, _) in enumerate(self._rows) if text in name]
        _ = hits[:20]
        Counter(self._rows[index][1] for index in hits)
        return len(hits)


class Fts5:
    """SQLite's full-text index over bigrams, a phrase a query."""

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        self._database = sqlite3.connect(":memory:")
        self._database.execute("create virtual table titles using fts5(bigrams, category unindexed)")
        self._database.executemany(
            "insert into titles values (?, ?)", ((self._bigrams(name), category) for name, category in rows)
        )

    def _bigrams(self, text: str) -> str:
        return " ".join("".join(f"{ord(c):05x}" for c in pair) for pair in itertools.pairwise(text))

    def run(self, text: str) -> int:
        phrase = f'"{self._bigrams(text)}"'
        self._database.execute("select rowid from titles where titles match ? limit 20", (phrase,)).fetchall()
        counts = self._database.execute(
            "select category, count(*) from titles where titles match ? group by category", (phrase,)
        ).fetchall()
        return sum(count for _, count in counts)


def measure(name: str, tasks: Sequence[Callable[[], int]], rounds: int) -> tuple[str, list[float]]:
    """Time every task `rounds` times; the median counts for a task."""
    for task in tasks:
        task()
    gc.collect()
    gc.disable()
    times = []
    for task in tasks:
        took = []
        for _ in range(rounds):
            start = time.perf_counter()
            task()
            took.append(time.perf_counter() - start)
        times.append(statistics.median(took) * 1_000)
    gc.enable()
    return name, times


def resident_mb() -> float:
    """Tell this process's resident memory, shared pages included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the catalogue's search")
    parser.add_argument("--items", type=int, default=110_000)
    parser.add_argument("--distinct", action="store_true", help="every item has a name of its own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="build here, and use what was built here before")
    parser.add_argument("--slowest", type=int, default=0, help="list the slowest queries")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch) / "catalogue"
        if not (directory / "manifest.json").exists():
            start = time.perf_counter()
            large = arguments.items > 130_000
            build_demo(
                directory,
                items=None if large else arguments.items,
                at_least=arguments.items if large else 0,
                distinct=arguments.distinct,
            )
            print(f"generated, parsed and built in {time.perf_counter() - start:.1f} s")
        _report(directory, arguments.rounds, arguments.slowest)


def _report(directory: Path, rounds: int, slowest: int) -> None:
    before = resident_mb()
    start = time.perf_counter()
    snapshot = CatalogueSnapshot.open(directory)
    opened = time.perf_counter() - start
    mixed = queries(snapshot)
    results = [measure("mintong, everything", [_task(snapshot, query) for query in mixed], rounds)]
    memory = resident_mb() - before
    chinese = [query.text for query in mixed if has_chinese(query.text) and len(query.text) > 1]
    rows = _rows(snapshot)
    plain = [SearchQuery(text) for text in chinese]
    results.append(measure("mintong, same queries as below", [_task(snapshot, q) for q in plain], rounds))
    for name, engine in (("scanning all titles", Scan(rows)), ("SQLite FTS5, bigrams", Fts5(rows))):
        results.append(measure(name, [_plain(engine, text) for text in chinese], min(rounds, 3)))
    print(
        f"{snapshot.item_count:,} items, {snapshot.tables.manifest.names:,} names; "
        f"opened in {opened * 1e3:.0f} ms; {memory:.0f} MB more resident after all queries"
    )
    print(f"{'':32}{'queries':>8}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, times in results:
        p50, p90, p99 = np.percentile(times, [50, 90, 99])
        print(f"{name:32}{len(times):8}{p50:9.3f}{p90:9.3f}{p99:9.3f}{max(times):9.3f}")
    for took, query in sorted(zip(results[0][1], mixed, strict=True), key=lambda pair: -pair[0])[:slowest]:
        print(f"{took:9.3f} ms {query.text!r} {query.filter}")


def _rows(snapshot: CatalogueSnapshot) -> list[tuple[str, str]]:
    tables = snapshot.tables
    names = [tables.text(number).name for number in range(tables.manifest.names)]
    categories = [category.code for category in snapshot.categories]
    of_combo = [categories[row] for row in tables.combos[:, 0].tolist()]
    return [
        (names[text], of_combo[combo])
        for text, combo in zip(tables.item_text.tolist(), tables.item_combo.tolist(), strict=True)
    ]


def _task(snapshot: CatalogueSnapshot, query: SearchQuery) -> Callable[[], int]:
    return lambda: run_full(snapshot, query)


def _plain(engine: Scan | Fts5, text: str) -> Callable[[], int]:
    return lambda: engine.run(text)


if __name__ == "__main__":
    main()
