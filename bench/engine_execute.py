"""CPU time of one execution of a 20-item page: compiled, with fragments, cached, beside plain strawberry.

Run with `python -m bench.engine_execute [--rounds N]`. Everything is measured in one process and one run, in
interleaved rounds on fresh pages at random; what counts are the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import msgspec
import orjson
import strawberry
from graphql import get_operation_ast, parse, version
from strawberry.extensions import ParserCache, ValidationCache

from engine.compiler import Compiler
from engine.executor import Engine
from engine.fragments import FragmentCache
from engine.policy import CacheControl, CacheScope
from engine.relation import relation
from engine.responses import ResponseCache
from engine.typed import Typed
from engine.vetting import source_classes

ITEMS = 2000
PUBLIC = {"max_age": 300, "scope": CacheScope.PUBLIC, "snapshot": True}


class DepartmentView(Typed):
    id: str
    name: str


class DivisionView(Typed):
    code: str
    name: str


class Channel(Enum):
    WINDOW = "window"
    ONLINE = "online"
    BOTH = "both"


class ItemView(Typed):
    id: str
    code: str
    title: str
    summary: str
    category: str
    channel: Channel
    fee_cents: int
    online: bool
    work_days: int
    visits: int
    rating: float
    updated_at: datetime.datetime
    department_id: str
    division_code: str


class PageInfoView(msgspec.Struct, frozen=True):
    total: int
    has_next_page: bool
    end_cursor: str | None


class PageView(msgspec.Struct, frozen=True):
    items: list[ItemView]
    page_info: PageInfoView


DEPARTMENTS = {f"d{i}": DepartmentView(f"d{i}", f"市场监管第{i}分局") for i in range(40)}
DIVISIONS = {f"37{i:04}": DivisionView(f"37{i:04}", f"第{i}街道") for i in range(150)}
_RNG = random.Random(20261122)
CATALOGUE = [
    ItemView(
        f"item:{i}",
        f"37{i:08}",
        f"个体户登记（第{i}类）",
        "窗口网上均可办理。",
        "ENTERPRISE",
        _RNG.choice(list(Channel)),
        _RNG.randrange(0, 50_000),
        _RNG.random() < 0.7,
        _RNG.randrange(1, 30),
        _RNG.randrange(0, 100_000),
        round(_RNG.uniform(1, 5), 2),
        datetime.datetime(2026, 11, _RNG.randrange(1, 22), 8, 30, tzinfo=datetime.UTC),
        f"d{_RNG.randrange(40)}",
        f"37{_RNG.randrange(150):04}",
    )
    for i in range(ITEMS)
]


def load_departments(keys: list[str], _context: Any) -> list[DepartmentView | None]:
    return [DEPARTMENTS.get(key) for key in keys]


def load_divisions(keys: list[str], _context: Any) -> list[DivisionView | None]:
    return [DIVISIONS.get(key) for key in keys]


GraphChannel = strawberry.enum(Channel, name="Channel")


@strawberry.type(directives=[CacheControl(entity_key="id", **PUBLIC)])
class Department:
    is_type_of = source_classes(DepartmentView)
    id: strawberry.ID
    name: str


@strawberry.type(directives=[CacheControl(entity_key="code", **PUBLIC)])
class Division:
    is_type_of = source_classes(DivisionView)
    code: strawberry.ID
    name: str


@strawberry.type(directives=[CacheControl(entity_key="id", **PUBLIC)])
class Item:
    is_type_of = source_classes(ItemView)
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
    department: Department = relation(load_departments, key="department_id")
    division: Division = relation(load_divisions, key="division_code")


@strawberry.type
class PageInfo:
    total: int
    has_next_page: bool
    end_cursor: str | None


@strawberry.type(directives=[CacheControl(**PUBLIC)])
class ItemPage:
    items: list[Item]
    page_info: PageInfo


@strawberry.type
class Query:
    @strawberry.field(directives=[CacheControl(**PUBLIC)])
    def items(self, first: int, offset: int) -> ItemPage:
        end = min(offset + first, ITEMS)
        page = PageInfoView(ITEMS, end < ITEMS, str(end) if end < ITEMS else None)
        return PageView(CATALOGUE[offset:end], page)  # type: ignore[return-value]


PAGE = """query Items($first: Int!, $offset: Int!) {
  items(first: $first, offset: $offset) {
    items {
      id code title summary category channel feeCents online workDays visits rating updatedAt
      department { id name }
      division { code name }
    }
    pageInfo { total hasNextPage endCursor }
  }
}"""

Run = Callable[[dict[str, Any]], Awaitable[bytes]]


def contenders() -> dict[str, Run]:
    plain = strawberry.Schema(Query)
    caching = strawberry.Schema(Query, extensions=[lambda: _PARSER, lambda: _VALIDATION])
    compiled = Engine(plain, compile_after=1)
    versions: dict[str, Any] = {"versions": lambda _context: 1}
    spliced = Engine(plain, compile_after=1, fragments=FragmentCache(64_000_000), **versions)
    kept = Engine(plain, compile_after=1, responses=ResponseCache(64_000_000), **versions)

    async def run_plain(variables: dict[str, Any]) -> bytes:
        result = await plain.execute(PAGE, variables, {})
        return json.dumps({"data": result.data}, ensure_ascii=False).encode()

    async def run_caching(variables: dict[str, Any]) -> bytes:
        result = await caching.execute(PAGE, variables, {})
        return orjson.dumps({"data": result.data})

    def engine_run(engine: Engine) -> Run:
        prepared = engine.persist("page", PAGE)

        async def run(variables: dict[str, Any]) -> bytes:
            return (await engine.execute(prepared, variables, None, {})).body

        return run

    return {
        "strawberry": run_plain,
        "strawberry, caches and orjson": run_caching,
        "compiled": engine_run(compiled),
        "compiled, fragments": engine_run(spliced),
        "whole response": engine_run(kept),
    }


_PARSER = ParserCache()
_VALIDATION = ValidationCache()
COUNTS = {"strawberry": 20, "strawberry, caches and orjson": 40}


async def measure(rounds: int) -> dict[str, float]:
    """Return the median CPU time of one execution in microseconds, by contender."""
    runs = contenders()
    pages = [{"first": 20, "offset": offset} for offset in range(0, ITEMS, 20)]
    expected = dict.fromkeys(range(0, ITEMS, 20))
    for name, run in runs.items():
        for variables in pages:
            body = orjson.loads(await run(variables))
            known = expected[variables["offset"]]
            if known is None:
                expected[variables["offset"]] = body
            assert known is None or known == body, name
    spent: dict[str, list[float]] = {name: [] for name in runs}
    rng = random.Random(1)
    for _ in range(rounds):
        for name, run in runs.items():
            chosen = [rng.choice(pages) for _ in range(COUNTS.get(name, 1000))]
            started = time.process_time_ns()
            for variables in chosen:
                await run(variables)
            spent[name].append((time.process_time_ns() - started) / len(chosen) / 1000)
    return {name: statistics.median(times) for name, times in spent.items()}


def compile_times(count: int) -> list[float]:
    """Return the CPU milliseconds to compile a document of 60 fields, sorted."""
    schema = strawberry.Schema(Query)
    fields = "id code title summary category channel feeCents online workDays visits rating updatedAt"
    part = (
        f"{{ items {{ {fields} department {{ id name }} division {{ code name }} }} pageInfo {{ total }} }}"
    )
    text = "{ " + " ".join(f"p{i}: items(first: 20, offset: {i}) {part}" for i in range(3)) + " }"
    document = parse(text)
    operation = get_operation_ast(document, None)
    assert operation is not None
    times = []
    for _ in range(count):
        started = time.process_time_ns()
        Compiler(schema, document, operation, {}).compile()
        times.append((time.process_time_ns() - started) / 1e6)
    return sorted(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    medians = asyncio.run(measure(options.rounds))
    base, cached = medians["strawberry"], medians["strawberry, caches and orjson"]
    print(
        f"{platform.machine()}, Python {sys.version.split()[0]}, strawberry, graphql-core {version}, "
        f"orjson {orjson.__version__}; {options.rounds} rounds, CPU time, JSON included"
    )
    print(f"{'':32}{'µs':>10}{'strawberry /':>14}{'with caches /':>15}")
    for name, micros in medians.items():
        print(f"{name:32}{micros:>10.1f}{base / micros:>14.1f}{cached / micros:>15.1f}")
    times = compile_times(100)
    print(f"compiling 60 fields: p50 {times[49]:.2f} ms, p95 {times[94]:.2f} ms")


if __name__ == "__main__":
    main()
