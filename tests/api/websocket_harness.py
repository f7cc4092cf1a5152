"""A schema with subscriptions of every kind, served as the house does; a client to watch it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import strawberry
import uvicorn
from api_harness import NotServedError, Surroundings, application
from strawberry.types import Info
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from api.app import Application
from api.errors import RequestError
from api.server import uvicorn_config
from domain.access import Assurance, Role, Viewer
from resolvers.live import shared
from settings import Settings

PROTOCOL = Subprotocol("graphql-transport-ws")


@strawberry.type
class Notice:
    id: strawberry.ID
    number: int

    @strawberry.field
    def seen_by(self, info: Info[Any, None]) -> str:
        EXECUTED.append(self.id)
        viewer = info.context.viewer
        return "nobody" if viewer is None else str(viewer.account_id)

    @strawberry.field
    def language(self, info: Info[Any, None]) -> str:
        return str(info.context.language)

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError("the password is hunter2")

    @strawberry.field
    async def slow(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "世界") -> str:
        return f"你好，{name}"

    @strawberry.field
    def whoami(self, info: Info[Any, None]) -> str | None:
        viewer = info.context.viewer
        return None if viewer is None else str(viewer.account_id)

    @strawberry.field
    def refused(self) -> str | None:
        raise NotServedError(id="x1")

    @strawberry.field
    async def slow(self, seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            ENDED.append("slow query")
            raise
        return "done"


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def write(self, text: str, seconds: float = 0) -> str:
        await asyncio.sleep(seconds)
        WRITTEN.append(text)
        return text


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def forever(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ENDED.append("forever")

    @strawberry.subscription
    async def flood(self, size: int = 100_000) -> AsyncIterator[str]:
        try:
            while True:
                yield "洪" * size
        finally:
            ENDED.append("flood")

    @strawberry.subscription
    async def notices(self, info: Info[Any, None], topic: str, queue: int = 100) -> AsyncIterator[Notice]:
        async with info.context.live.listen([topic], queue) as events:
            async for event in events:
                number = int(event.body)
                notice = Notice(id=strawberry.ID(f"{topic}/{number}"), number=number)
                yield shared(notice, ("notice", topic, number))

    @strawberry.subscription
    async def mine(self, info: Info[Any, None], topic: str) -> AsyncIterator[Notice]:
        async with info.context.live.listen([topic]) as events:
            async for event in events:
                yield Notice(id=strawberry.ID("mine"), number=int(event.body))

    @strawberry.subscription
    async def refused(self) -> AsyncIterator[int]:
        yield 1
        raise NotServedError(id="x2")

    @strawberry.subscription
    async def crashes(self) -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("the password is hunter2")

    @strawberry.subscription
    def never(self) -> AsyncIterator[int]:
        raise NotServedError(id="x3")


ENDED: list[str] = []
WRITTEN: list[str] = []
EXECUTED: list[str] = []
SCHEMA = strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription)


@dataclass
class Sessions:
    """What tokens there are: `Bearer NAME` is the account NAME, in the session `s-NAME`."""

    lasts: timedelta = timedelta(hours=1)
    revoked: set[str] = field(default_factory=set)
    roles: frozenset[Role] = frozenset({Role.CITIZEN})
    broken: Exception | None = None
    asked: int = 0

    async def authenticate(self, authorization: bytes) -> Viewer:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        scheme, _, name = authorization.decode().partition(" ")
        if scheme != "Bearer" or not name or name in self.revoked:
            raise RequestError("INVALID_TOKEN")
        account, _, _ = name.partition("+")
        return Viewer(
            account_id=account,
            session_id=f"s-{account}",
            roles=self.roles,
            assurance=Assurance.L1,
            expires_at=datetime.now(UTC) + self.lasts,
        )


@dataclass
class Served:
    """A running server: its address, its application, its loop."""

    url: str
    app: Application
    loop: asyncio.AbstractEventLoop
    server: uvicorn.Server

    def stop(self) -> None:
        """Ask the server to end, as SIGTERM does."""
        self.server.should_exit = True

    def call(self, function: Any, *args: Any) -> Any:
        """Run a function, or a coroutine function, in the server's loop."""

        async def run() -> Any:
            result = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    @property
    def websocket(self) -> Any:
        return self.app._websocket

    def tell(self, topic: str, body: bytes) -> None:
        """Dispatch a live event, as if it came from Redis."""
        self.call(self.websocket.hub.dispatch, [topic], body)


@contextmanager
def serving(
    tmp_path: Path, sessions: Sessions | None = None, *, redis_url: str | None = None, **changes: Any
) -> Iterator[Served]:
    """Serve the schema as the house does, in a thread."""
    settings = Settings.model_validate({"home": tmp_path, "log_sample": 0.0, "drain_s": 0, **changes})
    surroundings = Surroundings() if redis_url is None else Surroundings(redis_url=redis_url)
    app = application(settings, surroundings, schema=SCHEMA)
    if sessions is not None:
        app._websocket.authenticate = sessions.authenticate
    ended = len(ENDED)
    config = uvicorn_config(settings)
    config.app, config.factory = app, False
    server = uvicorn.Server(config)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve([listener])

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        deadline = time.monotonic() + 15
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = listener.getsockname()[1]
        yield Served(f"ws://127.0.0.1:{port}/graphql", app, loops[0], server)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        del ENDED[ended:]


class Client:
    """The client's side of one connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Any) -> None:
        await self.connection.send(
            message if isinstance(message, str | bytes) else orjson.dumps(message).decode()
        )

    async def receive(self) -> Any:
        async with asyncio.timeout(10):
            return orjson.loads(await self.connection.recv())

    async def init(self, **payload: Any) -> Any:
        await self.send({"type": "connection_init", **({"payload": payload} if payload else {})})
        return await self.receive()

    async def subscribe(self, query: str, id: str = "1", **payload: Any) -> None:
        await self.send({"type": "subscribe", "id": id, "payload": {"query": query, **payload}})

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the server's close; give its code and reason."""
        async with asyncio.timeout(15):
            await self.connection.wait_closed()
        return self.connection.close_code, self.connection.close_reason


@asynccontextmanager
async def client(served: Served | str, *, init: bool = True, **options: Any) -> AsyncIterator[Client]:
    """Connect and, unless told else, initialise without a token."""
    url = served if isinstance(served, str) else served.url
    options.setdefault("subprotocols", [PROTOCOL])
    async with connect(url, compression=None, open_timeout=10, **options) as connection:
        opened = Client(connection)
        if init:
            assert (await opened.init())["type"] == "connection_ack"
        yield opened
