"""The page of the HTTP benchmark for every contender: one schema, one data set, one document.

The engine's schema and the data are those of `bench.engine_execute`. Here are the same types as strawberry's
documentation would write them, with a DataLoader for each relation, and the export for other languages.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import orjson
import strawberry
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.types import Info

from api.documents import document_hash
from bench.engine_execute import (
    CATALOGUE,
    DEPARTMENTS,
    DIVISIONS,
    ITEMS,
    PAGE,
    DepartmentView,
    DivisionView,
    GraphChannel,
    PageInfoView,
    PageView,
)
from bench.engine_execute import Query as EngineQuery

FIRST = 20
OFFSETS = range(ITEMS - FIRST + 1)
"""Any 20 neighbouring items are a page."""
SCHEMA = strawberry.Schema(EngineQuery)
HASH = document_hash(PAGE)


@strawberry.type
class Department:
    id: strawberry.ID
    name: str


@strawberry.type
class Division:
    code: strawberry.ID
    name: str


@strawberry.type
class Item:
    id: strawberry.ID
    code: str
    title: str
    summary: str
    category: str
    channel: GraphChannel
    fee_cents: int
    online: bool
    work_days: int
    visits: int
    rating: float
    updated_at: datetime.datetime

    @strawberry.field
    async def department(self, info: Info[dict[str, Any], None]) -> Department:
        found: Department = await info.context["departments"].load(self.department_id)  # type: ignore[attr-defined]
        return found

    @strawberry.field
    async def division(self, info: Info[dict[str, Any], None]) -> Division:
        found: Division = await info.context["divisions"].load(self.division_code)  # type: ignore[attr-defined]
        return found


@strawberry.type
class PageInfo:
    total: int
    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class ItemPage:
    items: list[Item]
    page_info: PageInfo


@strawberry.type
class Query:
    @strawberry.field
    def items(self, first: int, offset: int) -> ItemPage:
        end = min(offset + first, ITEMS)
        page = PageInfoView(ITEMS, end < ITEMS, str(end) if end < ITEMS else None)
        return PageView(CATALOGUE[offset:end], page)  # type: ignore[return-value]


async def _departments(keys: list[str]) -> list[DepartmentView]:
    return [DEPARTMENTS[key] for key in keys]


async def _divisions(keys: list[str]) -> list[DivisionView]:
    return [DIVISIONS[key] for key in keys]


class PlainView(GraphQL[dict[str, Any], None]):
    """Strawberry's view as it comes, with the request's DataLoaders in the context."""

    async def get_context(self, request: Any, response: Any) -> dict[str, Any]:
        return {"departments": DataLoader(_departments), "divisions": DataLoader(_divisions)}


class OrjsonView(PlainView):
    """The same with orjson, as strawberry's documentation shows."""

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)


def plain_view() -> PlainView:
    """Make strawberry's view as it comes."""
    return PlainView(strawberry.Schema(Query), graphql_ide=None)


def tuned_view() -> PlainView:
    """Make strawberry's view with its documented caches and orjson."""
    parser, validation = ParserCache(maxsize=100), ValidationCache(maxsize=100)
    schema = strawberry.Schema(Query, extensions=[lambda: parser, lambda: validation])
    return OrjsonView(schema, graphql_ide=None)


def export(path: Path) -> None:
    """Write schema, document and data as JSON; instants and enums as the API answers them."""
    path.write_bytes(
        orjson.dumps(
            {
                "schema": strawberry.Schema(Query).as_str(),
                "page": PAGE,
                "items": [
                    {
                        "id": item.id,
                        "code": item.code,
                        "title": item.title,
                        "summary": item.summary,
                        "category": item.category,
                        "channel": item.channel.name,
                        "feeCents": item.fee_cents,
                        "online": item.online,
                        "workDays": item.work_days,
                        "visits": item.visits,
                        "rating": item.rating,
                        "updatedAt": item.updated_at.isoformat(),
                        "departmentId": item.department_id,
                        "divisionCode": item.division_code,
                    }
                    for item in CATALOGUE
                ],
                "departments": [{"id": each.id, "name": each.name} for each in DEPARTMENTS.values()],
                "divisions": [{"code": each.code, "name": each.name} for each in DIVISIONS.values()],
            }
        )
    )


def trusted_body(offset: int) -> bytes:
    """Give the request of a page for the house: the document by its hash."""
    return _body({"documentId": f"sha256:{HASH}"}, offset)


def text_body(offset: int) -> bytes:
    """Give the request of a page for everybody else: the document itself."""
    return _body({"query": PAGE}, offset)


def persisted_body(offset: int) -> bytes:
    """Give the request of a page in mercurius' way for registered documents."""
    return _body({"query": HASH, "persisted": True}, offset)


def _body(document: dict[str, Any], offset: int) -> bytes:
    return orjson.dumps({**document, "variables": {"first": FIRST, "offset": offset}})
