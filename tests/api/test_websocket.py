"""GraphQL over WebSocket: the protocol, its bounds, and what is shared between viewers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from websocket_harness import ENDED, EXECUTED, PROTOCOL, WRITTEN, Client, Served, Sessions, client, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from domain.access import Role

NOTICES = "subscription Notices($topic: String!) { notices(topic: $topic) { id number seenBy language } }"


def run(served: Served, scenario: Callable[[Client], Awaitable[None]], **options: Any) -> None:
    """Play a scenario over one connection."""

    async def play() -> None:
        async with client(served, **options) as opened:
            await scenario(opened)

    asyncio.run(play())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - polls another thread or process
            await asyncio.sleep(0.01)


async def tell(served: Served, topic: str, body: bytes) -> None:
    """Dispatch an event once somebody listens to its topic."""
    hub = served.websocket.hub
    await until(lambda: topic in hub._topics)
    await asyncio.to_thread(served.tell, topic, body)


def codes(message: Any) -> list[str]:
    assert message["type"] == "error"
    return [error["extensions"]["code"] for error in message["payload"]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(tmp_path_factory.mktemp("home")) as opened:
        yield opened


def test_a_subscription_gives_each_event_and_then_completes(served: Served) -> None:
    async def scenario(opened: Client) -> None:
        await opened.subscribe("subscription { count(to: 2) }", id='a"1')
        assert [await opened.receive() for _ in range(3)] == [
            {"id": 'a"1', "type": "next", "payload": {"data": {"count": 0}}},
            {"id": 'a"1', "type": "next", "payload": {"data": {"count": 1}}},
            {"id": 'a"1', "type": "complete"},
        ]

    run(served, scenario)


def test_queries_and_mutations_answer_once(served: Served) -> None:
    async def scenario(opened: Client) -> None:
        await opened.subscribe("query($name: String!) { hello(name: $name) }", variables={"name": "榕城"})
        assert await opened.receive() == {
            "id": "1",
            "type": "next",
            "payload": {"data": {"hello": "你好，榕城"}},
        }
        assert await opened.receive() == {"id": "1", "type": "complete"}
        await opened.subscribe('mutation { write(text: "once") }')
        assert (await opened.receive())["payload"] == {"data": {"write": "once"}}
        assert (await opened.receive())["type"] == "complete"
        await opened.subscribe("{ refused }")
        answer = await opened.receive()
        assert answer["payload"]["data"] == {"refused": None}
        assert answer["payload"]["errors"][0]["extensions"]["code"] == "INVALID_ID"

    run(served, scenario)
    assert WRITTEN.count("once") == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("query($n: Int!) { hello(name: $n) }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription($n: Int!) { count(to: $n) }", "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", "OPERATION_NOT_FOUND"),
        ("subscription { never }", "INVALID_ID"),
        ("{ a: hello " * 300 + "}" * 300, "GRAPHQL_PARSE_FAILED"),
    ],
)
def test_what_is_refused_says_why_and_frees_its_id(served: Served, query: str, code: str) -> None:
    async def scenario(opened: Client) -> None:
        for _ in range(2):
            await opened.subscribe(query)
            found = codes(await opened.receive())
            assert len(found) == 1
            assert found == [code] or code == "GRAPHQL_PARSE_FAILED"

    run(served, scenario)


@pytest.mark.parametrize(("field", "code"), [("refused", "INVALID_ID"), ("crashes", "INTERNAL_ERROR")])
def test_a_resolver_that_fails_between_events_is_told_without_secrets(
    served: Served, field: str, code: str
) -> None:
    async def scenario(opened: Client) -> None:
        await opened.subscribe(f"subscription {{ {field} }}")
        assert (await opened.receive())["payload"] == {"data": {field: 1}}
        failure = await opened.receive()
        assert codes(failure) == [code]
        assert "hunter2" not in str(failure)

    run(served, scenario)


def test_errors_come_in_the_language_asked_for(served: Served) -> None:
    async def scenario(opened: Client) -> None:
        assert (await opened.init(acceptLanguage="en"))["type"] == "connection_ack"
        await opened.subscribe("subscription { refused }")
        await opened.receive()
        assert (await opened.receive())["payload"][0]["message"] == "x2 is not a valid id."

    run(served, scenario, init=False)


def test_pings_are_answered_with_their_payload(served: Served) -> None:
    async def scenario(opened: Client) -> None:
        await opened.send({"type": "ping", "payload": {"n": 1}})
        assert await opened.receive() == {"type": "pong", "payload": {"n": 1}}
        await opened.send({"type": "pong"})
        await opened.send({"type": "complete", "id": "unknown"})
        await opened.send({"type": "ping"})
        assert (await opened.receive())["type"] == "pong"

    run(served, scenario, init=False)


@pytest.mark.parametrize(
    "message",
    [
        "nonsense",
        b"\x00\x01",
        "[]",
        '"text"',
        "{}",
        {"type": 1},
        {"type": "connection_ack"},
        {"type": "start"},
        {"type": "subscribe", "id": "", "payload": {"query": "{ hello }"}},
        {"type": "subscribe", "id": "x" * 129, "payload": {"query": "{ hello }"}},
        {"type": "subscribe", "id": "1"},
        {"type": "subscribe", "id": "1", "payload": {}},
        {"type": "subscribe", "id": "1", "payload": {"query": 1}},
        {"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": []}},
    ],
)
def test_bad_messages_close_with_4400(served: Served, message: Any) -> None:
    async def scenario(opened: Client) -> None:
        await opened.send(message)
        assert (await opened.closed())[0] == 4400

    run(served, scenario)


def test_the_other_codes_of_the_protocol(served: Served) -> None:
    async def unauthorized(opened: Client) -> None:
        await opened.subscribe("{ hello }")
        assert await opened.closed() == (4401, "Unauthorized")

    async def twice(opened: Client) -> None:
        await opened.send({"type": "connection_init"})
        assert await opened.closed() == (4429, "Too many initialisation requests")

    async def duplicate(opened: Client) -> None:
        for _ in range(2):
            await opened.subscribe("subscription { forever }", id="七" * 100)
        code, reason = await opened.closed()
        assert code == 4409
        assert reason is not None
        assert reason.startswith("Subscriber for 七")

    async def refused(opened: Client) -> None:
        await opened.send({"type": "connection_init", "payload": {"authorization": "Bearer stranger"}})
        assert await opened.closed() == (4403, "Forbidden: INVALID_TOKEN")

    async def no_object(opened: Client) -> None:
        await opened.send({"type": "connection_init", "payload": []})
        assert (await opened.closed())[0] == 4400

    async def subprotocol(opened: Client) -> None:
        assert (await opened.closed())[0] == 4406

    run(served, unauthorized, init=False)
    run(served, twice)
    run(served, duplicate)
    run(served, refused, init=False)
    run(served, no_object, init=False)
    run(served, subprotocol, init=False, subprotocols=None)


def test_completing_ends_the_resolver_and_frees_the_id(served: Served) -> None:
    async def scenario(opened: Client) -> None:
        ended = ENDED.count("forever")
        for turn in range(2):
            await opened.subscribe("subscription { forever }")
            assert (await opened.receive())["payload"] == {"data": {"forever": 1}}
            await opened.send({"type": "complete", "id": "1"})
            await until(lambda turn=turn: ENDED.count("forever") == ended + turn + 1)

    run(served, scenario)


def test_a_client_that_leaves_ends_its_subscriptions_and_queries_but_not_a_mutation(served: Served) -> None:
    async def play() -> None:
        async with client(served) as opened:
            await opened.subscribe("subscription { forever }", id="1")
            await opened.receive()
            await opened.subscribe("{ slow(seconds: 5) }", id="2")
            await opened.subscribe('mutation { write(text: "kept", seconds: 0.3) }', id="3")
            await until(lambda: len(served.websocket._tasks) >= 0)
            await asyncio.sleep(0.1)
        await until(lambda: "kept" in WRITTEN)
        await until(lambda: "slow query" in ENDED and "forever" in ENDED)

    asyncio.run(play())


def test_shared_events_are_executed_once_for_nobody_per_selection(tmp_path: Path) -> None:
    async def play(served: Served) -> None:
        async with contextlib.AsyncExitStack() as stack:
            tokens = ("lin", "chen", "lin", "wang")
            languages = ("zh", "zh", "zh", "en")
            clients = [await stack.enter_async_context(client(served, init=False)) for _ in tokens]
            for opened, token, wanted in zip(clients, tokens, languages, strict=True):
                await opened.init(authorization=f"Bearer {token}", acceptLanguage=wanted)
                await opened.subscribe(NOTICES, variables={"topic": "shared"}, id=token)
            hub = served.websocket.hub
            await until(lambda: len(hub._topics.get("shared", ())) == 4)
            await tell(served, "shared", b"7")
            for opened, token, wanted in zip(clients, tokens, languages, strict=True):
                notice = {"id": "shared/7", "number": 7, "seenBy": "nobody", "language": wanted}
                expected = {"id": token, "type": "next", "payload": {"data": {"notices": notice}}}
                assert await opened.receive() == expected

    with serving(tmp_path, Sessions()) as served:
        asyncio.run(play(served))
    assert EXECUTED.count("shared/7") == 2  # one for each language


def test_personal_events_are_executed_for_their_viewer(tmp_path: Path) -> None:
    async def play(served: Served) -> None:
        async with client(served, init=False) as one, client(served, init=False) as two:
            for opened, token in ((one, "lin"), (two, "chen")):
                await opened.init(authorization=f"Bearer {token}")
                await opened.subscribe('subscription { mine(topic: "p") { number seenBy } }')
            await until(lambda: len(served.websocket.hub._topics.get("p", ())) == 2)
            await tell(served, "p", b"1")
            for opened, token in ((one, "lin"), (two, "chen")):
                assert (await opened.receive())["payload"]["data"]["mine"] == {"number": 1, "seenBy": token}

    with serving(tmp_path, Sessions()) as served:
        asyncio.run(play(served))


def test_an_event_whose_resolver_waits_is_still_executed_once(served: Served) -> None:
    query = 'subscription { notices(topic: "w") { seenBy slow(seconds: 0.2) } }'

    async def play() -> None:
        async with client(served) as one, client(served) as two:
            for opened in (one, two):
                await opened.subscribe(query)
            await until(lambda: len(served.websocket.hub._topics.get("w", ())) == 2)
            before = len(EXECUTED)
            await tell(served, "w", b"3")
            await until(lambda: len(EXECUTED) > before)
            await one.send({"type": "complete", "id": "1"})  # who asked first leaves
            assert (await two.receive())["payload"]["data"]["notices"] == {"seenBy": "nobody", "slow": "done"}
        assert EXECUTED.count("w/3") == 1

    asyncio.run(play())


# --- sessions ---------------------------------------------------------------------------------------------


def test_the_viewer_is_known_and_the_end_of_the_token_told(tmp_path: Path) -> None:
    async def scenario(opened: Client) -> None:
        ack = await opened.init(authorization="Bearer lin")
        assert set(ack["payload"]) == {"expiresAt"}
        await opened.subscribe("{ whoami }")
        assert (await opened.receive())["payload"] == {"data": {"whoami": "lin"}}

    with serving(tmp_path, Sessions()) as served:
        run(served, scenario, init=False)


def test_a_revoked_session_ends_its_connections_and_no_others(tmp_path: Path) -> None:
    async def play(served: Served) -> None:
        async with client(served, init=False) as one, client(served, init=False) as two:
            await one.init(authorization="Bearer lin")
            await two.init(authorization="Bearer chen")
            await tell(served, "session-ended:s-lin", b"")
            assert await one.closed() == (4440, "The session has ended")
            await two.subscribe("{ whoami }")
            assert (await two.receive())["payload"] == {"data": {"whoami": "chen"}}
        # Somebody who authenticated just before the session ended is not let in either.
        async with client(served, init=False) as late:
            await late.send({"type": "connection_init", "payload": {"authorization": "Bearer lin"}})
            assert (await late.closed())[0] == 4440

    with serving(tmp_path, Sessions()) as served:
        asyncio.run(play(served))


def test_a_gap_asks_again_for_every_session(tmp_path: Path) -> None:
    sessions = Sessions()

    async def play(served: Served) -> None:
        async with client(served, init=False) as one, client(served, init=False) as two:
            await one.init(authorization="Bearer lin")
            await two.init(authorization="Bearer chen")
            sessions.revoked.add("lin")
            await asyncio.to_thread(served.call, served.websocket.hub._connected)
            assert await one.closed() == (4440, "The session has ended")
            await two.subscribe("{ whoami }")
            assert (await two.receive())["payload"] == {"data": {"whoami": "chen"}}

    with serving(tmp_path, sessions) as served:
        asyncio.run(play(served))


def test_an_expired_token_closes_unless_it_was_renewed(tmp_path: Path) -> None:
    sessions = Sessions(lasts=timedelta(seconds=0.8))

    async def play(served: Served) -> None:
        async with client(served, init=False) as one, client(served, init=False) as two:
            await one.init(authorization="Bearer lin")
            await two.init(authorization="Bearer chen")
            sessions.lasts = timedelta(hours=1)
            await two.send({"type": "ping", "payload": {"authorization": "Bearer chen+2"}})
            assert set((await two.receive())["payload"]) == {"expiresAt"}
            assert await one.closed() == (4441, "The access token has expired")
            await two.subscribe("{ whoami }")
            assert (await two.receive())["payload"] == {"data": {"whoami": "chen"}}

    with serving(tmp_path, sessions) as served:
        asyncio.run(play(served))


def test_renewing_never_changes_the_viewer_or_the_rights(tmp_path: Path) -> None:
    sessions = Sessions()

    async def play(served: Served) -> None:
        async with client(served, init=False) as one, client(served, init=False) as two:
            await one.init(authorization="Bearer lin")
            await two.init(authorization="Bearer chen")
            await one.send({"type": "ping", "payload": {"authorization": "Bearer chen"}})
            assert (await one.closed())[0] == 4403
            sessions.roles = frozenset({Role.CITIZEN, Role.DESK})
            await two.send({"type": "ping", "payload": {"authorization": "Bearer chen"}})
            assert await two.closed() == (4441, "Rights have changed; connect again")

    with serving(tmp_path, sessions) as served:
        asyncio.run(play(served))


@pytest.mark.parametrize(
    ("error", "code"),
    [(RedisConnectionError("away"), 1013), (RuntimeError("the password is hunter2"), 4500)],
)
def test_sign_in_that_cannot_be_checked_is_not_a_refusal(tmp_path: Path, error: Exception, code: int) -> None:
    async def scenario(opened: Client) -> None:
        await opened.send({"type": "connection_init", "payload": {"authorization": "Bearer lin"}})
        found, reason = await opened.closed()
        assert found == code
        assert "hunter2" not in str(reason)

    with serving(tmp_path, Sessions(broken=error)) as served:
        run(served, scenario, init=False)


# --- bounds -----------------------------------------------------------------------------------------------


def test_who_does_not_initialise_or_idles_is_closed(tmp_path: Path) -> None:
    async def silent(opened: Client) -> None:
        assert await opened.closed() == (4408, "Connection initialisation timeout")

    async def idle(opened: Client) -> None:
        await opened.subscribe("subscription { forever }")
        await opened.receive()
        await asyncio.sleep(0.8)  # who listens is not idle
        await opened.send({"type": "complete", "id": "1"})
        assert await opened.closed() == (4443, "Idle for too long")

    with serving(tmp_path, live_init_s=0.3, live_idle_s=0.4) as served:
        run(served, silent, init=False)
        run(served, idle)


def test_operations_messages_and_connections_are_bounded(tmp_path: Path) -> None:
    async def operations(opened: Client) -> None:
        for number in range(3):
            await opened.subscribe("subscription { forever }", id=str(number))
        found = [await opened.receive() for _ in range(3)]
        refused = [message for message in found if message["type"] == "error"]
        assert [message["id"] for message in refused] == ["2"]
        assert codes(refused[0]) == ["TOO_MANY_OPERATIONS"]

    async def message(opened: Client) -> None:
        await opened.subscribe("{ hello }" + " " * 2000)
        assert (await opened.closed())[0] == 1009

    async def connections(served: Served) -> None:
        async with client(served), client(served):
            with pytest.raises(InvalidStatus) as refused:
                await connect(served.url, subprotocols=[PROTOCOL])
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["retry-after"] == "5"
        await until(lambda: served.websocket._open == 0)
        async with client(served):
            assert served.websocket._open == 1

    with serving(tmp_path, live_operations=2, live_connections=2, max_body_bytes=1024) as served:
        run(served, operations)
        run(served, message)
        asyncio.run(connections(served))


def test_pages_of_strangers_cannot_connect(tmp_path: Path) -> None:
    async def play(served: Served) -> None:
        host = served.url.removeprefix("ws://").removesuffix("/graphql")
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.url, subprotocols=[PROTOCOL], origin="https://evil.example")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
        for origin in ("https://mzt.example", f"http://{host}"):
            async with client(served, origin=origin):
                pass

    with serving(tmp_path, cors_origins="https://mzt.example") as served:
        asyncio.run(play(served))


@pytest.mark.alone
def test_a_reader_that_does_not_read_is_cut_off_and_nothing_is_kept_for_it(tmp_path: Path) -> None:
    async def play(served: Served) -> None:
        host, _, port = served.url.removeprefix("ws://").removesuffix("/graphql").partition(":")
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, int(port)))
        async with client(served, sock=raw, max_queue=1) as opened:
            await opened.subscribe("subscription { flood }")
            await opened.receive()
            opened.connection.transport.pause_reading()
            started = time.monotonic()
            await until(lambda: "flood" in ENDED)
            await until(lambda: served.websocket._open == 0)
            assert time.monotonic() - started < 8

    with serving(tmp_path, live_send_s=0.5) as served:
        asyncio.run(play(served))
        assert served.websocket._tasks == set()


def test_a_listener_whose_queue_is_full_closes_its_connection(served: Served) -> None:
    async def scenario(opened: Client) -> None:
        await opened.subscribe('subscription { notices(topic: "full", queue: 2) { id } }')
        hub = served.websocket.hub
        await until(lambda: "full" in hub._topics)

        def burst() -> None:
            for number in range(4):
                hub.dispatch(["full"], b"%d" % number)

        await asyncio.to_thread(served.call, burst)
        assert await opened.closed() == (4442, "Too slow: events were not kept")

    run(served, scenario)


def test_trusted_documents_only_holds_here_too(tmp_path: Path) -> None:
    async def scenario(opened: Client) -> None:
        await opened.subscribe("{ hello }")
        assert codes(await opened.receive()) == ["DOCUMENT_NOT_TRUSTED"]
        await opened.send({"type": "subscribe", "id": "2", "payload": {"documentId": f"sha256:{'0' * 64}"}})
        assert codes(await opened.receive()) == ["DOCUMENT_NOT_TRUSTED"]

    with serving(tmp_path, trusted_documents_only=True) as served:
        run(served, scenario)


def test_stopping_tells_clients_to_connect_again(tmp_path: Path) -> None:
    async def play(served: Served, stop: Callable[[], Any]) -> None:
        async with client(served) as opened:
            await opened.subscribe("subscription { forever }")
            await opened.receive()
            stop()
            assert (await opened.closed())[0] == 1012

    with contextlib.ExitStack() as stack:
        served = stack.enter_context(serving(tmp_path))
        asyncio.run(play(served, served.stop))
