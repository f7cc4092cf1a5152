"""Live updates: memory of idle subscribers, and how soon one event reaches all of them.

    python -m bench.live [--subscribers 5000] [--events 20]

The server is a process of its own: the house's transport over a small schema, or strawberry's own WebSocket
handler over the same schema, both under uvicorn. The subscribers are raw sockets in this process, which note
when their frame arrives and read nothing of it. `raw` writes the same bytes with a bare loop over the same
number of plain sockets: the floor.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import strawberry
import uvicorn
import uvloop
from redis.asyncio import Redis
from strawberry.asgi import GraphQL
from strawberry.types import Info

from api.app import create_app
from api.documents import TrustedDocuments
from api.resources import Resources
from api.server import uvicorn_config
from notifications.live import BROADCAST, LiveHub
from resolvers.live import shared
from settings import Settings

HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
QUERY = "subscription { messageReceived { id kind title sentAt unread } }"


@strawberry.type
class Message:
    id: strawberry.ID
    kind: str
    title: str
    sent_at: str
    unread: int


def message(number: int) -> Message:
    """Make the message that an event is about."""
    return Message(
        id=strawberry.ID(f"message-{number}"),
        kind="RADIATION_WARNING",
        title="福建省辐射环境监督站提醒您关注",
        sent_at="2026-11-22T19:00:00Z",
        unread=3,
    )


@strawberry.type
class Query:
    hello: str = "hello"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def message_received(self, info: Info[Any, None]) -> AsyncIterator[Message]:
        hub = HUB[0] if HUB else info.context.live
        async with hub.listen([BROADCAST]) as events:
            async for event in events:
                number = int(event.body)
                yield message(number) if HUB else shared(message(number), ("message", number))


HUB: list[LiveHub] = []
"""The hub of plain strawberry's server, which has no context of the house."""
SCHEMA = strawberry.Schema(query=Query, subscription=Subscription)


# --- servers


class NoCatalogue:
    """A process that serves live events only."""

    current = None

    def freshness(self) -> None:
        return None

    async def run(self) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def opened(_: Settings) -> AsyncIterator[Resources]:
    """Open nothing; the hub finds no Redis and dispatches what it is told in process."""
    redis = Redis(port=1)

    async def write(*_: Any) -> None:
        return None

    yield Resources(NoCatalogue(), redis, write, {})  # type: ignore[arg-type]
    await redis.aclose()


def serve(kind: str, listener: socket.socket, control: Connection) -> None:
    """Serve in a process of its own; on each number told dispatch one event, on None end."""
    raise_file_limit()
    os.sched_setaffinity(0, {0})
    settings = Settings(home=Path(tempfile.mkdtemp()), live_connections=20_000, log_sample=0, drain_s=0)
    if kind == "house":
        app: Any = create_app(settings, schema=SCHEMA, trusted=TrustedDocuments({}), opener=opened)
        config = uvicorn_config(settings)
        config.app, config.factory = app, False
    else:
        HUB.append(LiveHub(Redis(port=1)))
        app = GraphQL(SCHEMA)
        deflate = kind == "strawberry+deflate"
        config = uvicorn.Config(
            app, loop="uvloop", ws="websockets-sansio", ws_per_message_deflate=deflate,
            log_level="error", lifespan="off",
        )  # fmt: skip

    async def main() -> None:
        server = uvicorn.Server(config)
        loop = asyncio.get_running_loop()

        def told() -> None:
            number = control.recv()
            if number is None:
                server.should_exit = True
            elif number < 0:
                control.send(resident_mb())
            else:
                hub = HUB[0] if HUB else app._websocket.hub
                began = time.process_time()
                control.send(time.monotonic())
                hub.dispatch([BROADCAST], str(number).encode())
                loop.call_later(float(GAP_S) * 0.8, lambda: control.send(time.process_time() - began))

        loop.add_reader(control.fileno(), told)
        await server.serve([listener])

    uvloop.run(main())


GAP_S = 2.0


def serve_raw(listener: socket.socket, control: Connection) -> None:
    """Write the same bytes to every plain socket that has connected."""
    raise_file_limit()
    os.sched_setaffinity(0, {0})
    frame = b'\x81\x7e\x00\x96{"id":"1","type":"next","payload":' + b"x" * 110 + b"}"
    frame = frame.ljust(154, b"}")
    transports: list[asyncio.Transport] = []

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transports.append(transport)

        def data_received(self, data: bytes) -> None:
            handshake = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
            if data.startswith(b"GET"):
                self.transport.write(handshake)
            elif b"connection_init" in data:
                self.transport.write(b"connection_ack")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        server = await loop.create_server(Accepted, sock=listener)

        def told() -> None:
            number = control.recv()
            if number is None:
                done.set()
            elif number < 0:
                control.send(resident_mb())
            else:
                began = time.process_time()
                control.send(time.monotonic())
                for transport in transports:
                    transport.write(frame)
                control.send(time.process_time() - began)

        loop.add_reader(control.fileno(), told)
        await done.wait()
        server.close()

    uvloop.run(main())


# --- subscribers


def masked(text: str) -> bytes:
    """Make a client's frame; a mask of zeros leaves the text readable."""
    data = text.encode()
    head = bytes([0x81, 0x80 | len(data)]) if len(data) < 126 else b"\x81\xfe" + len(data).to_bytes(2, "big")
    return head + b"\0\0\0\0" + data


class Subscriber(asyncio.Protocol):
    """One socket: shakes hands, initialises, subscribes, then notes when frames arrive."""

    __slots__ = ("arrived", "ready", "stage", "transport")

    def __init__(self, ready: asyncio.Queue[None], arrived: list[float]) -> None:
        self.ready = ready
        self.arrived = arrived
        self.stage = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        if self.stage == 2:
            if b"next" in data:  # no ping of the server
                self.arrived.append(time.monotonic())
        elif self.stage == 0:
            assert data.startswith(b"HTTP/1.1 101"), data
            self.stage = 1
            self.transport.write(masked('{"type":"connection_init"}'))
        elif b"connection_ack" in data:
            self.stage = 2
            text = f'{{"type":"subscribe","id":"1","payload":{{"query":"{QUERY}"}}}}'
            self.transport.write(masked(text))
            self.ready.put_nowait(None)


async def measure(port: int, control: Connection, subscribers: int, events: int) -> dict[str, float]:
    """Connect all subscribers, then tell the server one event after the other."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[None] = asyncio.Queue()
    arrived: list[float] = []
    ask(control, -1)
    before = await answer(control)
    transports = []
    for start in range(0, subscribers, 100):
        count = min(100, subscribers - start)
        made = [
            loop.create_connection(lambda: Subscriber(ready, arrived), "127.0.0.1", port)
            for _ in range(count)
        ]
        transports += [transport for transport, _ in await asyncio.gather(*made)]
        for _ in range(count):
            await asyncio.wait_for(ready.get(), 30)
    await asyncio.sleep(3)
    ask(control, -1)
    after = await answer(control)
    latencies: list[float] = []
    last: list[float] = []
    cpu: list[float] = []
    for number in range(events):
        arrived.clear()
        ask(control, number)
        told = await answer(control)
        deadline = time.monotonic() + 60
        while len(arrived) < subscribers and time.monotonic() < deadline:  # noqa: ASYNC110 - cheap
            await asyncio.sleep(0.02)
        if len(arrived) != subscribers:
            raise SystemExit(f"{len(arrived)} of {subscribers} frames arrived")
        cpu.append(await answer(control))
        latencies += [at - told for at in arrived]
        last.append(max(arrived) - told)
    for transport in transports:
        transport.abort()
    latencies.sort()
    return {
        "mb": after - before,
        "kb": (after - before) * 1024 / subscribers,
        "p50_ms": statistics.median(latencies) * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99) - 1] * 1000,
        "last_ms": max(last) * 1000,
        "cpu_us": statistics.median(cpu) / subscribers * 1e6,
    }


def ask(control: Connection, number: int) -> None:
    control.send(number)


async def answer(control: Connection) -> float:
    while not control.poll():  # noqa: ASYNC110 - a pipe
        await asyncio.sleep(0.01)
    value: float = control.recv()
    return value


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident_mb() -> float:
    text = Path("/proc/self/status").read_text("utf-8")
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


@contextmanager
def server(kind: str) -> Iterator[tuple[int, Connection]]:
    """Run one kind of server in a process of its own."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    arguments = (listener, there) if kind == "raw" else (kind, listener, there)
    process = context.Process(target=serve_raw if kind == "raw" else serve, args=arguments)
    process.start()
    try:
        yield listener.getsockname()[1], here
        here.send(None)
        process.join(30)
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        listener.close()


def main() -> None:
    """Print the table; fail beyond the budgets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--subscribers", type=int, default=5000)
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--kinds", default="raw,house,strawberry,strawberry+deflate")
    given = parser.parse_args()
    raise_file_limit()
    gc.disable()  # the pauses of the measuring side are not the server's
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {max(cores)})
    figures: dict[str, dict[str, float]] = {}
    print(f"{given.subscribers} subscribers, {given.events} events")
    print(f"{'':20} {'MB':>7} {'KB each':>8} {'p50 ms':>8} {'p99 ms':>8} {'last ms':>8} {'CPU us':>7}")
    for kind in given.kinds.split(","):
        with server(kind) as (port, control):
            found = uvloop.run(measure(port, control, given.subscribers, given.events))
        figures[kind] = found
        print(
            f"{kind:20} {found['mb']:7.1f} {found['kb']:8.1f} {found['p50_ms']:8.1f} {found['p99_ms']:8.1f} "
            f"{found['last_ms']:8.1f} {found['cpu_us']:7.1f}",
            flush=True,
        )
    house, plain = figures.get("house"), figures.get("strawberry")
    if house and plain:
        ratios = {name: plain[name] / house[name] for name in ("kb", "cpu_us", "p99_ms")}
        print("strawberry / house: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    if house and given.subscribers <= 5000 and (house["mb"] > 250 or house["p99_ms"] > 500):
        sys.exit("beyond the budgets: 250 MB, 500 ms")


if __name__ == "__main__":
    main()
