"""A small schema with every kind of failure; ways to call the application in process and over a socket."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import strawberry
import uvicorn
from redis.asyncio import Redis
from strawberry.types import Info

from api.app import Application, create_app
from api.documents import TrustedDocuments, document_hash
from api.resources import Resources
from domain.errors import DomainError
from loaders.catalogue import Freshness
from settings import Settings


class NotServedError(DomainError):
    """A refusal of the test schema, worded by the house's texts for its code."""

    code = "INVALID_ID"


@strawberry.type
class Unit:
    id: strawberry.ID
    name: str

    @strawberry.field
    def parts(self) -> list[Unit]:
        return []


@strawberry.type
class UnitEdge:
    cursor: str
    node: Unit


@strawberry.type
class UnitConnection:
    total_count: int
    edges: list[UnitEdge]


UNITS = [Unit(id=strawberry.ID(str(number)), name=f"单位{number}") for number in range(200)]


@strawberry.input
class Filter:
    codes: list[str] | None = None
    nested: Filter | None = None


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "世界") -> str:
        return f"你好，{name}"

    @strawberry.field
    def units(self, first: int = 20) -> list[Unit]:
        return UNITS[:first]

    @strawberry.field
    def by_ids(self, ids: list[strawberry.ID]) -> list[Unit | None]:
        return [UNITS[int(raw)] for raw in ids]

    @strawberry.field
    def search(self, filter: Filter | None = None, first: int = 20) -> UnitConnection:
        found = UNITS[:first]
        return UnitConnection(total_count=200, edges=[UnitEdge(cursor=unit.id, node=unit) for unit in found])

    @strawberry.field(metadata={"cost": 500})
    def dear(self) -> str:
        return "dear"

    @strawberry.field(metadata={"list_size": 1000})
    def everything(self) -> list[Unit]:
        return UNITS

    @strawberry.field
    def root(self) -> Query:
        return Query()

    @strawberry.field
    def boom(self) -> str | None:
        raise RuntimeError("the password is hunter2")

    @strawberry.field
    def hard_boom(self) -> str:
        raise RuntimeError("the password is hunter2")

    @strawberry.field
    def wrong_type(self) -> int | None:
        return "not an int"  # type: ignore[return-value]

    @strawberry.field
    def refused(self) -> str | None:
        raise NotServedError(id="x1")

    @strawberry.field
    async def slow(self, seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            CANCELLED.append("slow")
            raise
        return "done"

    @strawberry.field
    def language(self, info: Info[Any, None]) -> str:
        return str(info.context.language)

    @strawberry.field
    def request_id(self, info: Info[Any, None]) -> str:
        return str(info.context.request_id)

    @strawberry.field
    def view(self, info: Info[Any, None], id: strawberry.ID) -> bool:
        info.context.views.count(id)
        return True

    @strawberry.field
    def long(self) -> str:
        return "社会保障卡申领" * 2000


CANCELLED: list[str] = []
MUTATIONS: list[str] = []


@strawberry.type
class Mutation:
    @strawberry.mutation
    def write(self, text: str) -> str:
        MUTATIONS.append(text)
        return text


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self) -> AsyncIterator[int]:
        yield 1


SCHEMA = strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription)


@dataclass
class StillCatalogue:
    """A catalogue's holder whose answers a test sets; no store behind it."""

    fresh: Freshness | None = None
    current: Any = None

    def freshness(self) -> Freshness | None:
        return self.fresh

    async def run(self) -> None:
        await asyncio.Event().wait()


FRESH = Freshness(
    version=7,
    revision=9,
    built_at=datetime(2026, 11, 22, 8, tzinfo=UTC),
    confirmed_at=datetime(2026, 11, 22, 9, tzinfo=UTC),
    is_stale=False,
)


@dataclass
class Surroundings:
    """What the application is opened with, and what it wrote."""

    redis_url: str = "redis://127.0.0.1:1/0"
    catalogue: StillCatalogue = field(default_factory=lambda: StillCatalogue(FRESH))
    engines: dict[str, Exception | None] = field(default_factory=lambda: {"mongodb": None, "redis": None})
    written: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[Resources]:
        redis = Redis.from_url(self.redis_url, socket_connect_timeout=1, socket_timeout=5)

        async def write(day: date, counts: Mapping[str, int]) -> None:
            self.written.update(counts)

        def probe(name: str) -> Any:
            async def ask() -> None:
                error = self.engines[name]
                if error is not None:
                    raise error

            return ask

        try:
            yield Resources(
                self.catalogue,  # type: ignore[arg-type]
                redis,
                write,
                {name: probe(name) for name in self.engines},
            )
        finally:
            await redis.aclose()


def settings_for(tmp_path: Path, **changes: Any) -> Settings:
    return Settings.model_validate({"home": tmp_path, "log_sample": 0.0, **changes})


def trusted(*texts: str) -> TrustedDocuments:
    return TrustedDocuments({document_hash(text): text for text in texts})


def application(
    settings: Settings,
    surroundings: Surroundings | None = None,
    schema: strawberry.Schema = SCHEMA,
    documents: TrustedDocuments | None = None,
) -> Application:
    return create_app(
        settings,
        schema=schema,
        trusted=documents if documents is not None else trusted(),
        opener=(surroundings or Surroundings()).open,
    )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.json.get("errors", [])]


class InProcess:
    """Call an application without a socket, in a loop of its own."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._runner = asyncio.Runner()

    def __enter__(self) -> InProcess:
        self._runner.__enter__()
        self._runner.run(self._start())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.run(self._stop())
        self._runner.__exit__(None, None, None)

    async def _start(self) -> None:
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._life = asyncio.create_task(self._app(scope, self._to_app.get, self._from_app.put))
        await self._to_app.put({"type": "lifespan.startup"})
        started = await self._from_app.get()
        assert started["type"] == "lifespan.startup.complete", started

    async def _stop(self) -> None:
        await self._to_app.put({"type": "lifespan.shutdown"})
        try:
            async with asyncio.timeout(20):
                stopped = await self._from_app.get()
        except TimeoutError:
            for task in asyncio.all_tasks():
                task.print_stack()
            raise
        assert stopped["type"] == "lifespan.shutdown.complete", stopped
        await self._life

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def send(
        self,
        method: str,
        path: str = "/graphql",
        *,
        query_string: str | bytes = b"",
        body: bytes | list[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return self._runner.run(
            self.asend(method, path, query_string=query_string, body=body, headers=headers)
        )

    async def asend(
        self,
        method: str,
        path: str = "/graphql",
        *,
        query_string: str | bytes = b"",
        body: bytes | list[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        chunks = body if isinstance(body, list) else [body]
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": chunk, "more_body": place < len(chunks) - 1}
            for place, chunk in enumerate(chunks)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not messages:
                await asyncio.Event().wait()  # the client stays
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query_string.encode() if isinstance(query_string, str) else query_string,
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
            "state": {},
        }
        await self._app(scope, receive, send)
        head = sent[0]
        return Answer(
            head["status"],
            {name.decode(): value.decode() for name, value in head["headers"]},
            b"".join(message.get("body", b"") for message in sent[1:]),
        )

    def post(
        self, parameters: Any, *, accept: str = "application/graphql-response+json", **headers: str
    ) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(
            "POST",
            body=parameters if isinstance(parameters, bytes) else orjson.dumps(parameters),
            headers={"content-type": "application/json", "accept": accept, **given},
        )

    def query(self, text: str, variables: dict[str, Any] | None = None, **headers: str) -> Answer:
        return self.post({"query": text, "variables": variables}, **headers)


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve an application with uvicorn in a thread; give its base URL."""
    listener = socket.socket()
    # The kernel would take tens of megabytes by itself: who sends would not notice that nobody reads.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
