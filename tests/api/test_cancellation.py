"""Work ends when nobody waits for it any more, and a slow part ends alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from api_harness import settings_for
from viewers_world import EVENTS, Connection, application, request_bytes, serving

from api.documents import document_hash
from settings import HttpProtocol

SLOW = "query Slow { slow }"
BATCH = "query Batch { units(first: 3) { id slowNote } }"
SHARED = "query Shared { slowUnits { id } }"
TIMED = "query Timed { units(first: 2) { id timedNote office { name } } echo }"
WRITE = "mutation Write { write }"

Serve = Callable[..., int]
pytestmark = pytest.mark.alone


@pytest.fixture(params=HttpProtocol)
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """A function that serves with changed settings and gives the port."""
    EVENTS.clear()
    with ExitStack() as stack:

        def start(**changes: Any) -> int:
            settings = settings_for(tmp_path, http_protocol=request.param, **changes)
            return stack.enter_context(serving(settings, application(settings, SLOW, BATCH, SHARED, WRITE)))

        yield start


async def seen(event: str, times: int = 1, within_s: float = 2.0) -> None:
    """Wait until an event happened so often."""
    deadline = time.monotonic() + within_s
    while EVENTS.count(event) < times:
        assert time.monotonic() < deadline, (event, EVENTS)
        await asyncio.sleep(0.005)


def request(text: str, *, trusted: bool, account: str | None = None) -> bytes:
    body = {"documentId": f"sha256:{document_hash(text)}"} if trusted else {"query": text}
    return request_bytes(body, account=account)


async def leave(port: int, sent: bytes, begun: str) -> float:
    """Send a request, go away once its work has begun; give the instant of going."""
    before = EVENTS.count(begun)
    connection = await Connection.open(port)
    connection.send(sent)
    await seen(begun, before + 1)
    await connection.close()
    return time.monotonic()


@pytest.mark.parametrize("compiled", [True, False], ids=["engine", "core"])
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "text"])
@pytest.mark.parametrize("account", ["a", None], ids=["signed in", "anonymous"])
@pytest.mark.parametrize(("text", "name"), [(SLOW, "resolver"), (BATCH, "batch")])
def test_work_stops_when_its_client_is_gone(
    serve: Serve, compiled: bool, trusted: bool, account: str | None, text: str, name: str
) -> None:
    port = serve(compiled_execution=compiled)

    async def scenario() -> None:
        # The first runs on graphql-core, the later ones compiled; heads of the later ones are known.
        for times in range(1, 4):
            gone = await leave(port, request(text, trusted=trusted, account=account), f"{name} begun")
            await seen(f"{name} cancelled", times)
            assert time.monotonic() - gone < 0.4
        assert f"{name} done" not in EVENTS
        connection = await Connection.open(port)
        answer = await connection.ask(request("{ units(first: 1) { id } }", trusted=False, account=account))
        assert orjson.loads(answer.body) == {"data": {"units": [{"id": "u0"}]}}
        await connection.close()

    asyncio.run(scenario())


def test_what_writes_goes_on_to_its_end(serve: Serve) -> None:
    port = serve()

    async def scenario() -> None:
        for times in range(1, 3):
            await leave(port, request(WRITE, trusted=True), "write begun")
            await seen("write done", times)
        assert "write cancelled" not in EVENTS

    asyncio.run(scenario())


def test_another_who_waits_for_the_same_answer_still_gets_it(serve: Serve) -> None:
    port = serve()

    async def scenario() -> None:
        first, second = await Connection.open(port), await Connection.open(port)
        first.send(request(SHARED, trusted=True))
        await seen("shared begun")
        waiting = asyncio.create_task(second.ask(request(SHARED, trusted=True)))
        await asyncio.sleep(0.1)
        assert EVENTS == ["shared begun"]
        await first.close()
        answer = await waiting
        assert orjson.loads(answer.body) == {"data": {"slowUnits": [{"id": "u0"}, {"id": "u1"}]}}
        assert EVENTS == ["shared begun", "shared cancelled", "shared begun", "shared done"]
        await second.close()

    asyncio.run(scenario())


def test_half_a_request_starts_nothing(serve: Serve) -> None:
    port = serve()

    async def scenario() -> None:
        connection = await Connection.open(port)
        connection.send(request(SLOW, trusted=True)[:-5])
        await asyncio.sleep(0.05)
        await connection.close()
        await asyncio.sleep(0.05)
        assert EVENTS == []

    asyncio.run(scenario())


@pytest.mark.parametrize("compiled", [True, False], ids=["engine", "core"])
def test_a_timeout_in_one_batch_is_the_error_of_its_field(serve: Serve, compiled: bool) -> None:
    port = serve(compiled_execution=compiled)

    async def scenario() -> None:
        connection = await Connection.open(port)
        for times in range(1, 4):
            begun = time.monotonic()
            answer = await connection.ask(request(TIMED, trusted=False))
            assert time.monotonic() - begun < 0.4
            assert answer.status == 200
            told = orjson.loads(answer.body)
            units = [{"id": f"u{n}", "timedNote": None, "office": {"name": f"大厅{n}"}} for n in range(2)]
            assert told["data"]["units"] == units
            assert told["data"]["echo"] == "(None, None, '默认', None, None, 'zh', 1)"
            paths = [["units", n, "timedNote"] for n in range(2)]
            assert [error["path"] for error in told["errors"]] == paths
            assert ["batch begun", "batch cancelled"] * times == EVENTS
        await connection.close()

    asyncio.run(scenario())


def test_a_request_beyond_its_time_stops(serve: Serve) -> None:
    port = serve(execution_timeout_s=0.05)

    async def scenario() -> None:
        connection = await Connection.open(port)
        for times in range(1, 4):
            answer = await connection.ask(request(SLOW, trusted=True))
            assert answer.status == 503
            assert orjson.loads(answer.body)["errors"][0]["extensions"]["code"] == "TIMEOUT"
            assert ["resolver begun", "resolver cancelled"] * times == EVENTS
        await connection.close()

    asyncio.run(scenario())
