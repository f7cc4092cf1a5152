"""Requests per second over HTTP on the loopback: a page of 20 items, with and without the engine.

    python -m bench.http [--seconds S] [--connections C]

The server runs as `api.server` runs it, with one worker on a core of its own; the load comes from another
core and asks for pages at random. The floor is a starlette endpoint that returns the ready bytes of such a
page. No database is needed: the catalogue is that of the demo province.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import uvicorn
import uvloop
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.app import create_app
from api.documents import TrustedDocuments, document_hash
from api.logs import configure_logging
from api.resources import Resources
from api.server import uvicorn_config
from bench.catalogues import build_demo
from loaders.catalogue import Freshness
from loaders.catalogue_snapshot import CatalogueSnapshot, SearchQuery
from settings import Environment, Settings

SEARCH = """query Search($text: String!, $after: String) {
  searchServiceItems(text: $text, after: $after, first: 20) {
    totalCount
    edges {
      cursor
      node {
        id name level onlineDepth visits chargesFee promisedLimit { days kind }
        department { id name }
        division { code name }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""
TEXTS = ("", "登记", "许可", "证", "医疗保险", "社会保障", "驾驶证", "公证")
PAGES_EACH = 40
MODES: dict[str, dict[str, object]] = {
    "engine off": {"compiled_execution": False},
    "engine, no caches": {"fragment_cache_bytes": 0, "response_cache_bytes": 0},
    "engine, fragments": {"response_cache_bytes": 0},
    "engine, whole response": {},
}
FLOOR = "floor: starlette, ready bytes"
OK = b"HTTP/1.1 200 "


class StillCatalogue:
    """Serves one snapshot, confirmed when asked."""

    def __init__(self, snapshot: CatalogueSnapshot) -> None:
        self.current = snapshot

    def freshness(self) -> Freshness:
        snapshot = self.current
        return Freshness(snapshot.version, 0, snapshot.built_at, datetime.now(UTC), is_stale=False)

    async def run(self) -> None:
        await asyncio.Event().wait()


def serve(mode: str, directory: Path, port: int) -> None:
    """Serve one contender until terminated."""
    changes = {"host": "127.0.0.1", "port": port, "log_level": "ERROR", "environment": Environment.PRODUCTION}
    settings = Settings.model_validate({**changes, **MODES.get(mode, {})})

    @asynccontextmanager
    async def open_still(_: Settings) -> AsyncIterator[Resources]:
        redis = Redis.from_url("redis://127.0.0.1:1/0")

        async def write(_day: object, _counts: object) -> None:
            return

        catalogue = StillCatalogue(CatalogueSnapshot.open(directory / "catalogue"))
        yield Resources(catalogue, redis, write, {})  # type: ignore[arg-type]
        await redis.aclose()

    def build() -> object:
        if mode == FLOOR:
            body = (directory / "body.json").read_bytes()

            async def ready(request: Request) -> Response:
                await request.body()
                return Response(body, media_type="application/graphql-response+json")

            return Starlette(routes=[Route("/graphql", ready, methods=["POST"])])
        return create_app(
            settings, trusted=TrustedDocuments({document_hash(SEARCH): SEARCH}), opener=open_still
        )

    configure_logging(settings)
    config = uvicorn_config(settings)
    config.app = build
    uvicorn.Server(config).run()


def requests_of(snapshot: CatalogueSnapshot) -> list[bytes]:
    """Give the requests for some hundred pages, as bytes for the socket."""
    requests = []
    for text in TEXTS:
        after: str | None = None
        for _ in range(PAGES_EACH):
            variables = {"text": text, "after": after}
            body = orjson.dumps({"documentId": f"sha256:{document_hash(SEARCH)}", "variables": variables})
            head = (
                "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                f"accept: application/graphql-response+json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            requests.append(head.encode() + body)
            page = snapshot.search(SearchQuery(text, first=20, after=after)).page_info
            after = page.end_cursor
            if not page.has_next_page:
                break
    return requests


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, requests: list[bytes], dice: random.Random | None) -> None:
        self.answered = 0
        self.last = b""
        self.finished = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._dice = dice
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        if self._dice is not None:
            self._transport.write(self._dice.choice(self._requests))
        elif self.answered < len(self._requests):
            self._transport.write(self._requests[self.answered])
        else:
            self.finished.set_result(None)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = buffer.index(b"content-length: ") + 16
        size = int(buffer[at : buffer.index(b"\r\n", at)])
        if len(buffer) < end + 4 + size:
            return
        if not buffer.startswith(OK):
            self.finished.set_exception(RuntimeError(buffer[:400]))
            self._transport.close()
            return
        self.answered += 1
        self.last = buffer[end + 4 :]
        self._buffer = b""
        self._ask()


async def load(port: int, requests: list[bytes], connections: int, seconds: float) -> tuple[float, bytes]:
    """Ask for each page twice, then measure; give requests per second and the body of the first page."""
    loop = asyncio.get_running_loop()
    bodies = []
    for chosen in (requests[:1], requests, requests):
        transport, client = await loop.create_connection(
            lambda given=chosen: Client(given, None), "127.0.0.1", port
        )
        await client.finished
        bodies.append(client.last)
        transport.close()
    dice = random.Random(20261122)
    pairs = [
        await loop.create_connection(lambda: Client(requests, dice), "127.0.0.1", port)
        for _ in range(connections)
    ]
    clients = [client for _, client in pairs]
    before, started = sum(client.answered for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    done, spent = sum(client.answered for client in clients) - before, time.perf_counter() - started
    for transport, client in pairs:
        transport.close()
        if client.finished.done():
            client.finished.result()
    return done / spent, bodies[0]


def measure(
    mode: str, directory: Path, requests: list[bytes], options: argparse.Namespace
) -> tuple[float, bytes]:
    """Start a server for one contender on the first core and load it from this one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "bench.http", "--serve", mode, "--directory", str(directory)]
    core = str(options.server_core)
    server = subprocess.Popen([*command, "--port", str(port), "--core", core])
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        return uvloop.run(load(port, requests, options.connections, options.seconds))
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", choices=[FLOOR, *MODES])
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    if options.serve:
        os.sched_setaffinity(0, {options.core})
        serve(options.serve, options.directory, options.port)
        return
    cores = sorted(os.sched_getaffinity(0))
    options.server_core = cores[0]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        build_demo(directory / "catalogue", items=20_000)
        snapshot = CatalogueSnapshot.open(directory / "catalogue")
        requests = requests_of(snapshot)
        os.sched_setaffinity(0, {cores[-1]})
        results: dict[str, float] = {}
        bodies: set[bytes] = set()
        for mode in MODES:
            results[mode], body = measure(mode, directory, requests, options)
            bodies.add(body)
        assert len(bodies) == 1, "contenders answer differently"
        body = bodies.pop()
        (directory / "body.json").write_bytes(body)
        results = {FLOOR: measure(FLOOR, directory, requests, options)[0], **results}
    print(f"{snapshot.item_count} items, {len(requests)} pages of 20, answers of {len(body)} bytes,")
    print(f"{options.connections} connections, {options.seconds:g} s each, server and load on one core each")
    print(f"{'':32}{'requests/s':>12}{'of the floor':>14}{'x engine off':>14}")
    for mode, rate in results.items():
        print(f"{mode:32}{rate:>12.0f}{rate / results[FLOOR]:>14.2f}{rate / results['engine off']:>14.2f}")


if __name__ == "__main__":
    main()
