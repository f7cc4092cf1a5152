"""Search quality: what citizens type, and the item that must be among the first three."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench.catalogues import build_places
from loaders.catalogue_snapshot import CatalogueSnapshot, SearchFilter, SearchQuery

QUERIES = Path(__file__).with_name("catalogue_queries.csv")
SHOWN = 3
REQUIRED = 0.95
# Where the queries are asked, what they name, and what lies above.
PLACES = (
    *("350000", "350100", "350102", "350102001", "350121", "350125", "350125100", "350181", "350181001"),
    *("350200", "350203", "350900", "350924", "350924104"),
)


def _rows() -> list[dict[str, str]]:
    with QUERIES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> CatalogueSnapshot:
    directory = tmp_path_factory.mktemp("quality") / "snapshot"
    build_places(directory, PLACES)
    return CatalogueSnapshot.open(directory)


def _first(snapshot: CatalogueSnapshot, row: dict[str, str]) -> list[str]:
    query = SearchQuery(row["query"], SearchFilter(division_code=row["division"] or None), first=SHOWN)
    return [edge.node.name for edge in snapshot.search(query).edges]


def test_every_expected_name_exists(snapshot: CatalogueSnapshot) -> None:
    tables = snapshot.tables
    known = {tables.text(number).name for number in range(tables.manifest.names)}
    expected = {name for row in _rows() for name in row["expected"].split(";")}
    assert sorted(expected - known) == []


def test_at_least_150_different_queries() -> None:
    rows = _rows()
    asked = {(row["query"], row["division"]) for row in rows}
    assert len(asked) == len(rows)
    assert len(rows) >= 150


def test_expected_items_are_among_the_first_three(snapshot: CatalogueSnapshot) -> None:
    rows = _rows()
    failed = []
    for row in rows:
        found = _first(snapshot, row)
        if not set(found) & set(row["expected"].split(";")):
            failed.append(f"{row['query']} ({row['division'] or '-'}): {row['expected']}, found {found}")
    print(f"{len(rows) - len(failed)} of {len(rows)} hold", *failed, sep="\n")
    assert 1 - len(failed) / len(rows) >= REQUIRED, "\n".join(failed)
