"""A county's real items, from the file to the search."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeds.catalogue_import import import_catalogue
from feeds.catalogue_publish import publish_catalogue
from loaders.catalogue_snapshot import CatalogueSnapshot, SearchQuery
from store.catalogue import CatalogueStore
from store.connections import open_mongodb, open_redis

SAMPLE = Path(__file__).parents[3] / "shared/data/services/sichuan_guangan_qianfeng_items.csv"


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the published sample is not beside the repository")
def test_every_full_name_gives_an_item_of_that_name_first(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def publish() -> tuple[list[str], int]:
        async with open_mongodb(mongodb_uri, 30_000) as client, open_redis(redis_url, 5_000) as redis:
            store = CatalogueStore(client[database_name])
            report = await import_catalogue(SAMPLE, "sichuan_guangan", store, full=True)
            assert (report.lines, report.imported, report.rejected) == (1135, 1135, 0)
            version = await publish_catalogue(store, redis, tmp_path, now=datetime.now(UTC))
            return [item.name async for item in store.iterate_items()], version

    names, version = asyncio.run(publish())
    snapshot = CatalogueSnapshot.open(tmp_path / "snapshots" / f"catalogue-{version}")
    assert snapshot.item_count == len(names) == 1135
    others = [name for name in names if snapshot.search(SearchQuery(name)).edges[0].node.name != name]
    assert others == []
