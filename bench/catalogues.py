"""Catalogues to measure and to test with, made from the demo province without a database."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
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


def build_demo(directory: Path, *, items: int | None = None, copies: int = 1, variety: int = 1) -> Manifest:
    """Build a snapshot of the demo province, or of an even part of it.

    `copies` repeats every item with a name of its own out of `variety` times as many names.
    """
    divisions = fujian()
    parser = RowParser(load_mapping("national"), divisions)
    guides = {}
    bases = {}

    def parsed() -> Iterator[ServiceItem]:
        for row in generate(1, limit=items):
            result = parser.parse(row)
            guides.setdefault(result.shared.id, result.shared.guide)
            bases.update((basis.id, basis) for basis in result.shared.legal_bases)
            yield result.item

    def copied() -> Iterator[ServiceItem]:
        for number, item in enumerate(parsed()):
            for copy in range(copies):
                yield _variant(item, copy, (number * copies + copy) % variety)

    everything = list(copied()) if copies * variety > 1 else list(parsed())
    return build_snapshot(
        directory,
        version=1,
        built_at=BUILT_AT,
        divisions=divisions,
        departments=parser.departments.values(),
        legal_bases=bases.values(),
        guides=guides.items(),
        items=everything,
    )


def _variant(item: ServiceItem, copy: int, kind: int) -> ServiceItem:
    serial, suffix = divmod(kind, len(_SUFFIXES))
    name = item.name + _SUFFIXES[suffix] + (f"第{serial}类" if serial else "")
    return msgspec.structs.replace(item, id=f"{item.id[:56]}-{copy}", name=name)


def first_items(count: int) -> list[ServiceItem]:
    """Give the first items of the demo province."""
    parser = RowParser(load_mapping("national"), fujian())
    return [parser.parse(row).item for row in itertools.islice(generate(1), count)]
