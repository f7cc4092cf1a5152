"""Catalogues to measure and to test with, made from the demo province without a database."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from domain.catalogue import ServiceItem
from feeds.catalogue_divisions import fujian
from feeds.catalogue_mapping import load_mapping
from feeds.catalogue_parse import RowParser
from feeds.demo.catalogue import generate
from loaders.catalogue_snapshot import Manifest, build_snapshot

BUILT_AT = datetime(2026, 11, 22, tzinfo=UTC)
# Real catalogues name variants of a service; prefixes and suffixes as they have them.
_SUFFIXES = (
    "",
    "（新办）",
    "（变更）",
    "（延续）",
    "（注销）",
    "（补发）",
    "（个人）",
    "（单位）",
    "（委托办理）",
    "（跨省通办）",
    "（承诺制）",
)


def build_demo(
    directory: Path, *, items: int | None = None, at_least: int = 0, distinct: bool = False
) -> Manifest:
    """Build a snapshot of the demo province, or of an even part of it of `items`.

    With `at_least` every item is repeated as often as it takes, under ten times as many names. With
    `distinct` every item has a name of its own.
    """
    divisions = fujian()
    parser = RowParser(load_mapping("national"), divisions)
    guides = {}
    bases = {}
    everything = []
    for row in generate(1, limit=items):
        result = parser.parse(row)
        guides.setdefault(result.shared.id, result.shared.guide)
        bases.update((basis.id, basis) for basis in result.shared.legal_bases)
        everything.append(result.item)
    names = {division.code: division.name for division in parser.divisions.values()}
    copies = -(-at_least // len(everything)) or 1
    return build_snapshot(
        directory,
        version=1,
        built_at=BUILT_AT,
        divisions=divisions,
        departments=parser.departments.values(),
        legal_bases=bases.values(),
        guides=guides.items(),
        items=_varied(everything, copies, names if distinct else None),
    )


def _varied(items: list[ServiceItem], copies: int, places: dict[str, str] | None) -> Iterator[ServiceItem]:
    variety = max(10, copies) if copies > 1 else 1
    for number, item in enumerate(items):
        for copy in range(copies):
            serial, suffix = divmod((number * copies + copy) % variety, len(_SUFFIXES))
            name = item.name + _SUFFIXES[suffix] + (f"第{serial}类" if serial else "")
            if places is not None:
                name = f"{name}·{places[item.division_code]}{number}"
            yield msgspec.structs.replace(item, id=f"{item.id[:56]}-{copy}", name=name)


def build_places(directory: Path, division_codes: Collection[str]) -> Manifest:
    """Build a snapshot of the demo province with the items of some divisions only."""
    divisions = fujian()
    parser = RowParser(load_mapping("national"), divisions)
    wanted = {code.ljust(12, "0") for code in division_codes}
    parsed = [parser.parse(row) for row in generate(1) if row["area_code"] in wanted]
    bases = {basis.id: basis for result in parsed for basis in result.shared.legal_bases}
    return build_snapshot(
        directory,
        version=1,
        built_at=BUILT_AT,
        divisions=divisions,
        departments=parser.departments.values(),
        legal_bases=bases.values(),
        guides={result.shared.id: result.shared.guide for result in parsed}.items(),
        items=[result.item for result in parsed],
    )
