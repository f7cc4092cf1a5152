"""A schema with public and private parts, served over real sockets as `api.server` configures it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import strawberry
import uvicorn
from api_harness import FRESH, StillCatalogue, Surroundings
from strawberry.types import Info

from api.app import Application, create_app
from api.documents import TrustedDocuments, document_hash
from api.resources import Resources
from api.server import uvicorn_config
from domain.access import Assurance, Role, Viewer
from engine.policy import CacheControl, CacheScope
from engine.relation import relation
from engine.vetting import source_classes
from settings import Settings

FAR = datetime(2099, 1, 1, tzinfo=UTC)
SECRET = "only for"
PUBLIC: dict[str, Any] = {"max_age": 60, "scope": CacheScope.PUBLIC, "snapshot": True}
EVENTS: list[str] = []
"""What slow resolvers went through, in order."""


def whose(context: Any) -> str:
    """Name the viewer of a request."""
    return "nobody" if context.viewer is None else context.viewer.account_id


class UnitView(msgspec.Struct, frozen=True):
    id: str
    name: str
    office_id: str


class OfficeView(msgspec.Struct, frozen=True):
    id: str
    name: str


UNITS = [UnitView(f"u{n}", f"单位{n}", f"o{n % 3}") for n in range(40)]
OFFICES = {f"o{n}": OfficeView(f"o{n}", f"大厅{n}") for n in range(3)}


def load_offices(keys: list[str], context: Any) -> list[OfficeView | None]:
    return [OFFICES.get(key) for key in keys]


async def load_notes(keys: list[str], context: Any) -> list[str]:
    viewer = whose(context)
    await asyncio.sleep(0)
    assert whose(context) == viewer
    return [f"{SECRET} {viewer}: {key}" for key in keys]


async def load_slowly(keys: list[str], context: Any) -> list[str]:
    await _wait("batch")
    return keys


async def _wait(name: str) -> None:
    EVENTS.append(f"{name} begun")
    try:
        await asyncio.sleep(0.5)
    except asyncio.CancelledError:
        EVENTS.append(f"{name} cancelled")
        raise
    EVENTS.append(f"{name} done")


@strawberry.type(directives=[CacheControl(entity_key="id", **PUBLIC)])
class Office:
    is_type_of = source_classes(OfficeView)
    id: strawberry.ID
    name: str


@strawberry.type(directives=[CacheControl(entity_key="id", **PUBLIC)])
class Unit:
    is_type_of = source_classes(UnitView)
    id: strawberry.ID
    name: str
    office: Office | None = relation(load_offices, key="office_id")
    note: str = relation(load_notes, key="id", directives=[CacheControl(scope=CacheScope.PRIVATE)])
    slow_note: str | None = relation(load_slowly, key="id")
    timed_note: str | None = relation(load_slowly, key="id", timeout_s=0.05)

    @strawberry.field(directives=[CacheControl(vary_language=True, **PUBLIC)])
    def label(root: Any, info: Info[Any, None], style: str = "plain") -> str:
        return f"{info.context.language} {style} {root.id}"

    @strawberry.field
    def mine(root: Any, info: Info[Any, None]) -> str:
        return f"{SECRET} {whose(info.context)}: {root.id}"


@strawberry.type
class Me:
    name: str
    units: list[Unit]


@strawberry.type
class Query:
    @strawberry.field(directives=[CacheControl(**PUBLIC)])
    def units(self, first: int = 5, offset: int = 0) -> list[Unit]:
        return UNITS[offset : offset + first]  # type: ignore[return-value]

    @strawberry.field(directives=[CacheControl(vary_language=True, **PUBLIC)])
    def echo(
        self,
        info: Info[Any, None],
        number: int | None = None,
        ratio: float | None = None,
        text: str | None = "默认",
        flag: bool | None = None,
        ids: list[strawberry.ID] | None = None,
    ) -> str:
        version = info.context.catalogue.version
        return repr((number, ratio, text, flag, ids, info.context.language, version))

    @strawberry.field
    async def me(self, info: Info[Any, None], offset: int = 0) -> Me:
        viewer = whose(info.context)
        await asyncio.sleep(0)
        return Me(name=f"{SECRET} {viewer}", units=UNITS[offset : offset + 5])  # type: ignore[arg-type]

    @strawberry.field
    async def slow(self) -> str:
        await _wait("resolver")
        return "done"

    @strawberry.field(directives=[CacheControl(**PUBLIC)])
    async def slow_units(self) -> list[Unit]:
        await _wait("shared")
        return UNITS[:2]  # type: ignore[return-value]


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def write(self) -> str:
        await _wait("write")
        return "written"


SCHEMA = strawberry.Schema(query=Query, mutation=Mutation)


class Tokens:
    """Takes the account from the token itself."""

    async def authenticate(self, authorization: bytes) -> Viewer:
        await asyncio.sleep(0)
        account = authorization.removeprefix(b"Bearer ").decode()
        return Viewer(account, f"session of {account}", frozenset({Role.CITIZEN}), Assurance.L2, FAR)


def application(settings: Settings, *documents: str) -> Application:
    """Make the real application over the schema, the given documents registered."""
    snapshot = SimpleNamespace(version=1, revision=0, categories=())
    surroundings = Surroundings(catalogue=StillCatalogue(FRESH, snapshot))

    @asynccontextmanager
    async def opener(given: Settings) -> AsyncIterator[Resources]:
        async with surroundings.open(given) as resources:
            yield msgspec.structs.replace(resources, authenticator=Tokens())

    trusted = TrustedDocuments({document_hash(text): text for text in documents})
    return create_app(settings, schema=SCHEMA, trusted=trusted, opener=opener)


@contextmanager
def serving(settings: Settings, app: Application) -> Iterator[int]:
    """Serve an application in a thread, as configured for production; give the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn_config(settings)
        config.app = lambda: app
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def request_bytes(body: dict[str, Any], *, account: str | None = None, language: str = "zh") -> bytes:
    """Write a POST as a client does."""
    content = orjson.dumps(body)
    head = (
        "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"accept: application/graphql-response+json\r\naccept-language: {language}\r\n"
    )
    if account is not None:
        head += f"authorization: Bearer {account}\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


class Answered(msgspec.Struct, frozen=True):
    """The answer to one request."""

    status: int
    head: bytes
    body: bytes


class Connection:
    """One kept-alive connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> Answered:
        """Send a request and read its answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return Answered(int(head[9:12]), head, await self._reader.readexactly(size))

    def send(self, request: bytes) -> None:
        """Send a request and wait for nothing."""
        self._writer.write(request)

    async def close(self) -> None:
        """Go away."""
        self._writer.close()
        await self._writer.wait_closed()
