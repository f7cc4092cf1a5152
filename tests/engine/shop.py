"""A small schema with public, private and guarded parts, for the tests of caches and relations."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec
import strawberry
from strawberry.permission import BasePermission
from strawberry.types.info import Info

from engine.policy import CacheControl, CacheScope
from engine.relation import relation
from engine.vetting import source_classes

PUBLIC: dict[str, Any] = {"max_age": 60, "scope": CacheScope.PUBLIC, "snapshot": True}


class GoodView(msgspec.Struct, frozen=True):
    id: str
    title: str
    maker_id: str | None
    secret: str = "hidden"


class MakerView(msgspec.Struct, frozen=True):
    id: str
    name: str


@dataclass
class Data:
    """One published version."""

    version: int
    goods: list[GoodView]
    makers: dict[str, MakerView]


def publish(version: int, count: int = 6) -> Data:
    makers = {f"m{n}": MakerView(f"m{n}", f"maker {n} v{version}") for n in range(3)}
    goods = [GoodView(f"g{n}", f"good {n} v{version}", f"m{n % 3}") for n in range(count)]
    return Data(version, goods, makers)


@dataclass
class Context:
    data: Data
    viewer: str = "nobody"
    language: str = "zh"
    batches: list[tuple[str, list[str]]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    delay_s: float = 0.0


def load_makers(keys: list[str], context: Context) -> list[MakerView | None]:
    context.batches.append(("makers", keys))
    return [context.data.makers.get(key) for key in keys]


async def load_stock(keys: list[str], context: Context, *, least: int = 0) -> list[int]:
    context.batches.append(("stock", keys))
    try:
        await asyncio.sleep(context.delay_s)
    except asyncio.CancelledError:
        context.calls.append("stock cancelled")
        raise
    return [max(len(key), least) for key in keys]


class OnlyAnna(BasePermission):
    message = "only Anna"

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:
        return info.context.viewer == "anna"


@strawberry.type(directives=[CacheControl(entity_key="id", **PUBLIC)])
class Maker:
    is_type_of = source_classes(MakerView)
    id: strawberry.ID
    name: str


@strawberry.type(directives=[CacheControl(entity_key="id", **PUBLIC)])
class Good:
    is_type_of = source_classes(GoodView)
    id: strawberry.ID
    title: str
    secret: str = strawberry.field(directives=[CacheControl(scope=CacheScope.PRIVATE)])
    maker: Maker | None = relation(load_makers, key="maker_id")
    stock: int = relation(load_stock, key="id", timeout_s=0.05)
    guarded: int = relation(load_stock, key="id", permission_classes=[OnlyAnna])

    @strawberry.field
    def mine(root: Any, info: Info) -> str:
        info.context.calls.append("mine")
        return f"{info.context.viewer} {root.id}"

    @strawberry.field(directives=[CacheControl(vary_language=True, **PUBLIC)])
    def label(root: Any, info: Info, style: str = "plain") -> str:
        info.context.calls.append("label")
        return f"{info.context.language} {style} {root.id}"


@strawberry.type
class Viewer:
    name: str
    favourites: list[Good]


@strawberry.type
class Query:
    @strawberry.field(directives=[CacheControl(stale_while_revalidate=30, **PUBLIC)])
    async def goods(self, info: Info, first: int = 6) -> list[Good]:
        info.context.calls.append("goods")
        await asyncio.sleep(0)
        return info.context.data.goods[:first]  # type: ignore[return-value]

    @strawberry.field
    def undeclared(self, info: Info) -> list[Good]:
        return info.context.data.goods  # type: ignore[return-value]

    @strawberry.field(directives=[CacheControl(max_age=5, scope=CacheScope.PUBLIC)])
    def failing(self) -> str | None:
        raise ValueError("failing")

    @strawberry.field
    async def viewer(self, info: Info) -> Viewer:
        await asyncio.sleep(0)
        return Viewer(name=info.context.viewer, favourites=info.context.data.goods[:3])  # type: ignore[arg-type]

    @strawberry.field
    async def slow(self, info: Info) -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            info.context.calls.append("slow cancelled")
            raise
        return "done"


schema = strawberry.Schema(Query)
