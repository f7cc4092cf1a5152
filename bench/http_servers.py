"""The servers that `bench.http` measures, each of them one process: `python -m bench.http_servers NAME …`.

Every Python server is configured by `api.server`, so that all of them have uvloop, httptools and no access
log; the house's own is the whole application with everything that production has.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.answers import named, usual_head
from api.app import create_app
from api.documents import TrustedDocuments, document_hash
from api.logs import configure_logging
from api.negotiation import GRAPHQL_RESPONSE
from api.resources import Resources
from api.server import uvicorn_config
from bench import pages
from bench.catalogues import BUILT_AT
from loaders.catalogue import Freshness
from loaders.catalogue_snapshot import CatalogueSnapshot
from settings import Environment, HttpProtocol, Settings

FLOOR = "floor"
RAW_ASGI = "ready bytes: a bare ASGI callable"
RAW_PROTOCOL = "ready bytes: a bare protocol class"
READY = (FLOOR, RAW_ASGI, RAW_PROTOCOL)
"""Servers that have one answer ready: the floor, and what nothing that does any work can reach on its way."""
STRAWBERRY = "strawberry"
TUNED = "strawberry, its caches, orjson"
ENGINE_OFF = "engine off"
COMPILED, FRAGMENTS, RESPONSES = "compiled", "compiled, fragments", "whole response"
MODES: dict[str, dict[str, object]] = {
    ENGINE_OFF: {"compiled_execution": False},
    COMPILED: {"fragment_cache_bytes": 0, "response_cache_bytes": 0},
    FRAGMENTS: {"response_cache_bytes": 0},
    RESPONSES: {},
}
HOUSE = {
    f"{path}: {mode}": {"http_protocol": path} | MODES[mode]
    for path in (HttpProtocol.UVICORN, HttpProtocol.ASGI, HttpProtocol.DIRECT)
    for mode in MODES
    if mode != ENGINE_OFF or path is HttpProtocol.UVICORN
}

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


class StillCatalogue:
    """Serves one snapshot, or only a version of one, confirmed when asked."""

    def __init__(self, snapshot: CatalogueSnapshot | None) -> None:
        self.current = snapshot

    def freshness(self) -> Freshness:
        version = self.current.version if self.current else 1
        return Freshness(version, 0, BUILT_AT, datetime.now(UTC), is_stale=False)

    async def run(self) -> None:
        await asyncio.Event().wait()


class Versioned:
    """Stands for a snapshot where the schema has data of its own."""

    version = 1
    revision = 0
    built_at = BUILT_AT
    categories: tuple[Any, ...] = ()


def house(settings: Settings, catalogue: Path | None) -> object:
    """Make the application over the page's schema, or over the house's own with a catalogue."""

    @asynccontextmanager
    async def open_still(_: Settings) -> AsyncIterator[Resources]:
        redis = Redis.from_url("redis://127.0.0.1:1/0")

        async def write(_day: object, _counts: object) -> None:
            return

        snapshot: Any = CatalogueSnapshot.open(catalogue) if catalogue else Versioned()
        yield Resources(StillCatalogue(snapshot), redis, write, {})  # type: ignore[arg-type]
        await redis.aclose()

    text, schema = (SEARCH, None) if catalogue else (pages.PAGE, pages.SCHEMA)
    trusted = TrustedDocuments({document_hash(text): text})
    return create_app(settings, schema=schema, trusted=trusted, opener=open_still)


def floor(body: bytes) -> object:
    """Make a starlette application that has its answer ready."""

    async def ready(_: Request) -> Response:
        return Response(body, media_type="application/graphql-response+json")

    return Starlette(routes=[Route("/graphql", ready, methods=["POST"])])


def bare_callable(body: bytes) -> object:
    """Make an ASGI application that does nothing but send the house's headers and its ready answer."""
    fields = [named("0123456789ab-100"), *usual_head(GRAPHQL_RESPONSE, "", len(body))]

    async def send_ready(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    return send_ready


def bare_protocol(body: bytes) -> type[HttpToolsProtocol]:
    """Make a protocol class that answers whatever comes by the same ready bytes."""
    fields = [named("0123456789ab-100"), (b"date", b"Sat, 28 Nov 2026 00:00:00 GMT")]
    fields += usual_head(GRAPHQL_RESPONSE, "", len(body))
    head = b"".join(b"%b: %b\r\n" % pair for pair in fields)
    answer = b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (head, body)

    class Bare(HttpToolsProtocol):
        def data_received(self, data: bytes) -> None:
            self.transport.write(answer)

    return Bare


def serve(name: str, page: str, directory: Path, port: int) -> None:
    """Serve one contender until terminated."""
    still = {"host": "127.0.0.1", "port": port, "log_level": "ERROR", "environment": Environment.PRODUCTION}
    settings = Settings.model_validate({**still, **HOUSE.get(name, {"http_protocol": HttpProtocol.UVICORN})})
    configure_logging(settings)
    config = uvicorn_config(settings)
    build: Callable[[], object]
    if name in HOUSE:
        build = partial(house, settings, directory / "catalogue" if page == "search" else None)
    else:
        config.lifespan = "off"
        body = (directory / "body.json").read_bytes()
        ready = partial(bare_callable if name == RAW_ASGI else floor, body)
        if name == RAW_PROTOCOL:
            config.http = bare_protocol(body)
        views: dict[str, Callable[[], object]] = {STRAWBERRY: pages.plain_view, TUNED: pages.tuned_view}
        build = views.get(name, ready)
    config.app = build
    uvicorn.Server(config).run()


def main() -> None:
    """Serve the contender that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=[*READY, STRAWBERRY, TUNED, *HOUSE])
    parser.add_argument("--page", choices=["items", "search"], required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    serve(options.name, options.page, options.directory, options.port)


if __name__ == "__main__":
    main()
