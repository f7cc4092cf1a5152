"""What the import's tests share: rows, and a store of their own on the session's engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from pymongo.asynchronous.database import AsyncDatabase

from feeds.catalogue_import import ImportReport, import_catalogue
from store.catalogue import CatalogueStore
from store.connections import open_mongodb

T = TypeVar("T")


def with_database(uri: str, name: str, act: Callable[[AsyncDatabase[dict[str, Any]]], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_mongodb(uri, 30_000) as client:
            return await act(client[name])

    return asyncio.run(run())


def with_store(uri: str, name: str, act: Callable[[CatalogueStore], Awaitable[T]]) -> T:
    return with_database(uri, name, lambda database: act(CatalogueStore(database)))


def row(number: int, **changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "row_guid": f"{number:032x}",
        "task_name": f"社会保障卡申领（第{number}类）",
        "task_type": "20",
        "task_state": "在用",
        "task_version": 1,
        "area_code": "350102000000",
        "dept_code": "11350102MB0000001A",
        "dept_name": "鼓楼区人力资源和社会保障局",
        "use_level": "4",
        "server_type": "自然人",
        "user_topic_type": "085",
        "by_law": "《中华人民共和国社会保险法》第五十八条",
        "material": [{"material_name": "居民身份证", "order_num": 1, "is_need": "1"}],
    }
    return base | changes


def write_lines(path: Path, rows: list[object]) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def load(uri: str, name: str, path: Path, mapping: str = "national", **options: Any) -> ImportReport:
    return with_store(uri, name, lambda store: import_catalogue(path, mapping, store, **options))


def counts(report: ImportReport) -> tuple[int, ...]:
    """Lines, inserted, updated, unchanged, stale, duplicates, rejected, withdrawn."""
    assert (
        report.imported + report.unchanged + report.stale + report.duplicates + report.rejected
        == report.lines
    )
    return (
        report.lines,
        report.inserted,
        report.updated,
        report.unchanged,
        report.stale,
        report.duplicates,
        report.rejected,
        report.withdrawn,
    )
