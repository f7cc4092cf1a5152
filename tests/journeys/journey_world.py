"""A small believable province, imported, published and served over HTTP by the real application."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, reduce
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn

from api.app import create_app
from feeds.catalogue_import import import_catalogue
from feeds.catalogue_publish import publish_catalogue
from feeds.demo.catalogue import generate
from settings import Settings
from store.catalogue import CatalogueStore
from store.connections import open_mongodb, open_redis

FOLDER = Path(__file__).parent
SEED = 7
SERVER_THREAD = "served for the journeys"
# The province, two of its cities, a county with two of its townships, and the county beside it.
PLACES = frozenset({"350000", "350100", "350102", "350102001", "350102002", "350103", "350200"})
PUBLISHED_AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
_CLOCKS = {"observedAt": "<instant>", "ageS": 0}
# Documents are compiled and answers kept once they came a few times: the answer must stay the same.
_TIMES = 5
# A variable that is taken from another journey's answer: `@name:path.to.value`.
_REFERENCE = re.compile(r"@(\w+):([\w.]+)")


@cache
def rows() -> tuple[dict[str, Any], ...]:
    """Give what the generator makes for the places of the journeys."""
    wanted = {code.ljust(12, "0") for code in PLACES}
    return tuple(row for row in generate(SEED) if row["area_code"] in wanted)


@dataclass(frozen=True)
class World:
    """Where the published province lies."""

    home: Path
    mongodb_uri: str
    redis_url: str
    database: str

    def settings(self, **changes: Any) -> Settings:
        """Give settings of an API process, everything that a client could notice at its default."""
        engines = {"MONGODB_URI": self.mongodb_uri, "REDIS_URL": self.redis_url, "engine_timeout_ms": 30_000}
        given = {"home": self.home, "database": self.database, **engines, "log_sample": 0}
        return Settings.model_validate(given | changes)


async def import_and_publish(world: World) -> None:
    """Bring the rows in as an operator does."""
    source = world.home / "rows.jsonl"
    source.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows()))
    async with (
        open_mongodb(world.mongodb_uri, 30_000) as client,
        open_redis(world.redis_url, 30_000) as redis,
    ):
        store = CatalogueStore(client[world.database])
        report = await import_catalogue(source, "national", store, full=True)
        assert (report.lines, report.rejected, report.dropped) == (report.inserted, 0, {})
        assert await publish_catalogue(store, redis, world.home, now=PUBLISHED_AT) == 1


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    """Serve with uvicorn in a thread until the context ends; give a client of it that is ready."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(settings), loop="uvloop", http="httptools", ws="none", log_config=None
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name=SERVER_THREAD)
        thread.start()
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=base, trust_env=False, timeout=30) as client:
                wait_ready(client, server, thread)
                yield client
        finally:
            server.should_exit = True
            thread.join()


def wait_ready(client: httpx.Client, server: uvicorn.Server, thread: threading.Thread) -> None:
    """Wait until the store has confirmed the snapshot."""
    deadline = time.monotonic() + 30
    state: dict[str, Any] = {}
    while time.monotonic() < deadline:
        assert thread.is_alive()
        if server.started:
            state = client.get("/readyz").json()
            if state["ready"] and state["snapshot"]["state"] == "ok" and state["snapshot"]["revision"] > 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"not ready: {state}")


def names() -> list[str]:
    """List the journeys."""
    return sorted(path.stem for path in FOLDER.glob("*.graphql"))


def must_update() -> bool:
    """Tell whether the expected answers are to be written anew."""
    return os.environ.get("MINTONG_UPDATE_JOURNEYS") == "1"


@dataclass
class Journeys:
    """Sends journeys to a server and keeps the answers, which later journeys may refer to."""

    client: httpx.Client

    def __post_init__(self) -> None:
        self._answers: dict[str, Any] = {}

    def answer(self, name: str) -> Any:
        """Give the answer to a journey, clocks replaced."""
        if name not in self._answers:
            self._answers[name] = self._ask(name)
        return self._answers[name]

    def _ask(self, name: str) -> Any:
        given = FOLDER / f"{name}.variables.json"
        request = orjson.loads(given.read_bytes()) if given.exists() else {}
        body: dict[str, Any] = {"query": (FOLDER / f"{name}.graphql").read_text("utf-8")}
        if "variables" in request:
            body["variables"] = self._resolve(request["variables"])
        headers = {"accept": "application/graphql-response+json", **request.get("headers", {})}
        answers = []
        for _ in range(_TIMES):
            response = self.client.post("/graphql", json=body, headers=headers)
            answer = response.json()
            # Without the entry, which may be null, nothing was executed.
            assert response.status_code == (200 if "data" in answer else 400), response.text
            answers.append(_without_clocks(answer))
        assert answers == answers[:1] * _TIMES
        return answers[0]

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._resolve(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._resolve(part) for part in value]
        if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
            return reduce(_step, reference[2].split("."), self.answer(reference[1]))
        return value


def _step(value: Any, part: str) -> Any:
    return value[int(part)] if isinstance(value, list) else value[part]


def _without_clocks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_clocks(part) for part in value]
    if isinstance(value, dict):
        return {
            name: _CLOCKS[name] if name in _CLOCKS and part is not None else _without_clocks(part)
            for name, part in value.items()
        }
    return value


def build(world: World) -> None:
    """Fill a fresh database and home."""
    asyncio.run(import_and_publish(world))
