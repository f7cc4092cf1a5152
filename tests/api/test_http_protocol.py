"""Requests whose heads were seen, answered from the connection or through ASGI, whatever the bytes do."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
import strawberry
from api_harness import Surroundings, application, settings_for, trusted
from strawberry.types import Info
from viewers_world import serving
from wire import Wire, post

from api.direct import DirectAnswers
from api.heads import Head
from api.http_connection import Connection
from api.http_protocol import GraphQLProtocol
from api.ready import ReadyAnswer, ReadyAnswers
from engine.policy import CacheControl, CacheScope
from engine.responses import ResponseCache, ResponseKey, StoredResponse
from settings import HttpProtocol

HELLO = "query Hello($name: String) { hello(name: $name) }"
LONG = "query Long { long }"
SLOW = "query Slow { slow(seconds: 0.05) }"
REFUSED = "query Refused { refused hello }"
TEXTS = (HELLO, LONG, SLOW, REFUSED)


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were answered straight from the connection."""
    bodies: list[bytes] = []
    write = GraphQLProtocol.write

    def noting(self: GraphQLProtocol, answer: bytes, started: float) -> None:
        bodies.append(answer)
        write(self, answer, started)

    monkeypatch.setattr(GraphQLProtocol, "write", noting)
    return bodies


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The requests that went through ASGI without being parsed."""
    requests: list[bytes] = []
    start = Connection.start

    def noting(self: Connection, head: Head, request: bytes, *arguments: Any) -> None:
        requests.append(request)
        start(self, head, request, *arguments)

    monkeypatch.setattr(Connection, "start", noting)
    return requests


@pytest.fixture
def port(tmp_path: Path, direct: list[bytes]) -> Iterator[int]:
    with ExitStack() as stack:
        settings = settings_for(tmp_path, execution_timeout_s=1.0)
        yield stack.enter_context(serving(settings, application(settings, documents=trusted(*TEXTS))))


def without_ids(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], bytes]:
    status, headers, body = answer
    kept = {name: value for name, value in headers.items() if name not in ("x-request-id", "date")}
    return status, kept, re.sub(rb'"requestId":"[^"]+"', b"", body)


@pytest.mark.parametrize(
    ("text", "headers", "is_direct"),
    [
        (HELLO, (), True),
        (HELLO, ("accept-encoding: gzip, br", "accept-language: en", "origin: https://a.example"), True),
        (LONG, ("accept-encoding: gzip",), True),
        (REFUSED, (), True),
        (REFUSED, ("accept-language: en",), True),
        (SLOW, (), False),
        (HELLO, ("x-request-id: mine",), False),
        (HELLO, ("authorization: Bearer x",), False),
        (HELLO, ("expect: 100-continue",), False),
    ],
)
def test_the_second_request_with_a_head_is_answered_like_the_first(
    port: int, direct: list[bytes], text: str, headers: tuple[str, ...], is_direct: bool
) -> None:
    wire = Wire(port)
    request = post(text, {"name": "闽"} if text is HELLO else None, *headers)
    if "expect: 100-continue" in headers:
        wire.ask(request)
        wire.read()
        assert direct == []
        return
    first, second, third = (wire.ask(request)[0] for _ in range(3))
    assert without_ids(first) == without_ids(second) == without_ids(third)
    assert len(direct) == (2 if is_direct else 0)
    assert len({answer[1]["x-request-id"] for answer in (first, second, third)}) == (
        1 if "x-request-id: mine" in headers else 3
    )
    if "accept-encoding: gzip" in headers:
        assert "社会保障卡申领" in gzip.decompress(second[2]).decode()


def test_requests_of_one_size_with_other_heads_are_told_apart(port: int, direct: list[bytes]) -> None:
    wire = Wire(port)
    for _ in range(3):
        for accepted, coding in (("gzip", "gzip"), ("br,x", "br")):
            request = post(LONG, None, f"accept-encoding: {accepted}")
            assert wire.ask(request)[0][1]["content-encoding"] == coding
    assert len(direct) == 4
    sizes = {len(post(HELLO, {"name": "闽" * count})) for count in range(1, 21)}
    assert len(sizes) == 20
    for _ in range(2):
        for count in range(1, 21):
            answer = wire.ask(post(HELLO, {"name": "闽" * count}))[0]
            assert orjson.loads(answer[2])["data"] == {"hello": f"你好，{'闽' * count}"}


def test_bytes_that_come_in_pieces_or_together_are_answered_in_order(port: int, direct: list[bytes]) -> None:
    wire = Wire(port)
    names = ["甲", "乙", "丙"]
    requests = [post(HELLO, {"name": name}) for name in names]
    wanted = [f"你好，{name}" for name in names]

    def said(answers: list[tuple[int, dict[str, str], bytes]]) -> list[str]:
        return [orjson.loads(body)["data"]["hello"] for _, _, body in answers]

    assert said([wire.ask(request)[0] for request in requests]) == wanted
    answered = len(direct)
    assert answered == 2
    assert said(wire.ask(*requests)) == wanted
    for request in requests:
        for byte in range(len(request)):
            wire.socket.sendall(request[byte : byte + 1])
    assert said([wire.read() for _ in requests]) == wanted
    assert len(direct) == answered
    slow_first = wire.ask(post(SLOW), requests[0])
    assert orjson.loads(slow_first[0][2])["data"] == {"slow": "done"}
    assert said(slow_first[1:]) == wanted[:1]
    assert said([wire.ask(requests[1])[0]]) == [wanted[1]]
    assert len(direct) == answered + 1


async def _later(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "waited"


@strawberry.type
class Unsure:
    """Has a field that nobody can know to wait."""

    @strawberry.field
    def late(self, tenths: int) -> str:
        return _later(tenths / 10) if tenths else "at once"  # type: ignore[return-value]

    @strawberry.field
    def request_id(self, info: Info[Any, None]) -> str:
        return str(info.context.request_id)


def test_a_request_that_waits_unexpectedly_shares_nothing_with_the_next_of_its_head(
    tmp_path: Path, direct: list[bytes]
) -> None:
    text = "query Late($tenths: Int!) { late(tenths: $tenths) requestId }"
    app = application(settings_for(tmp_path), schema=strawberry.Schema(Unsure), documents=trusted(text))
    with serving(settings_for(tmp_path), app) as port:
        waiting, quick = Wire(port), Wire(port)
        for wire in (waiting, quick):
            wire.ask(post(text, {"tenths": 0}))
        answered = len(direct)
        waiting.socket.sendall(post(text, {"tenths": 4}))
        answers = [quick.ask(post(text, {"tenths": 0}))[0] for _ in range(5)]
        assert len(direct) == answered + 5
        answers.append(waiting.read())
        assert len(direct) == answered + 5
        answers += waiting.ask(post(text, {"tenths": 0}))
        assert len(direct) == answered + 6
    said = [orjson.loads(body)["data"] for _, _, body in answers]
    assert [each["late"] for each in said] == [*["at once"] * 5, "waited", "at once"]
    ids = [headers["x-request-id"] for _, headers, _ in answers]
    assert [each["requestId"] for each in said] == ids
    assert len(set(ids)) == len(ids)


def test_a_body_shorter_or_longer_than_declared_is_not_taken_for_a_whole_one(
    port: int, direct: list[bytes]
) -> None:
    request = post(HELLO, {"name": "甲"})
    size = len(request.partition(b"\r\n\r\n")[2])
    for declared in (size - 1, size + 1):
        wrong = post(HELLO, {"name": "甲"}, size=declared)
        for _ in range(2):
            wire = Wire(port)
            wire.socket.sendall(wrong + (b" " if declared > size else b""))
            status, _, body = wire.read()
            if declared > size:
                assert (status, orjson.loads(body)["data"]) == (200, {"hello": "你好，甲"})
            else:
                assert status == 400
            wire.socket.close()
    assert len(direct) <= 1


def test_requests_beyond_the_limit_of_connections_are_refused(
    tmp_path: Path, direct: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.server._MAX_CONCURRENCY", 2)
    settings = settings_for(tmp_path, live_connections=0)
    with serving(settings, application(settings, documents=trusted(*TEXTS))) as port:
        first = Wire(port)
        request = post(HELLO, {"name": "甲"})
        assert [first.ask(request)[0][0] for _ in range(3)] == [200, 200, 200]
        answered = len(direct)
        Wire(port).socket.sendall(b"POST /graphql")
        time.sleep(0.2)
        assert first.ask(request)[0][0] == 503
        assert len(direct) == answered


@pytest.mark.parametrize(
    ("http_protocol", "ways"),
    [(HttpProtocol.DIRECT, (3, 0)), (HttpProtocol.ASGI, (0, 3)), (HttpProtocol.UVICORN, (0, 0))],
)
def test_the_setting_chooses_the_way_and_every_request_is_counted(
    tmp_path: Path,
    direct: list[bytes],
    unparsed: list[bytes],
    http_protocol: HttpProtocol,
    ways: tuple[int, int],
) -> None:
    settings = settings_for(tmp_path, http_protocol=http_protocol)
    with serving(settings, application(settings, documents=trusted(*TEXTS))) as port:
        wire = Wire(port)
        before = counted(port)
        answers = [wire.ask(post(HELLO))[0] for _ in range(4)]
        assert len({str(without_ids(answer)) for answer in answers}) == 1
        assert [status for status, _, _ in answers] == [200] * 4
        assert (len(direct), len(unparsed)) == ways
        assert counted(port) - before == 4


def counted(port: int, operation: str = "Hello") -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    labels = rf'operation="{operation}",outcome="ok"'
    found = re.search(rf"^mintong_graphql_requests_total\{{{labels}\}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.fixture
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are closed after 0.4 seconds without a request."""
    made = Connection.connection_made

    def impatient(self: Any, transport: Any) -> None:
        self.timeout_keep_alive = 0.4
        made(self, transport)

    monkeypatch.setattr(Connection, "connection_made", impatient)


@pytest.mark.usefixtures("soon_idle")
@pytest.mark.parametrize("http_protocol", [HttpProtocol.DIRECT, HttpProtocol.ASGI])
def test_an_idle_connection_is_closed_only_when_nothing_was_answered_for_the_time(
    tmp_path: Path, http_protocol: HttpProtocol
) -> None:
    settings = settings_for(tmp_path, http_protocol=http_protocol)
    with serving(settings, application(settings, documents=trusted(HELLO, SLOW))) as port:
        wire, waiting, slow = Wire(port), Wire(port), post("query Slow { slow(seconds: 0.05) }")
        request = post(HELLO)
        assert waiting.ask(request)[0][0] == 200
        waiting.socket.sendall(request[:20])
        for _ in range(8):
            assert wire.ask(request)[0][0] == 200
            assert wire.ask(slow)[0][0] == 200
            with pytest.raises(TimeoutError):
                silent(wire, 0.15)
        # What was begun is not idle, however long it takes.
        assert waiting.ask(request[20:])[0][0] == 200
        wire.socket.settimeout(3)
        assert wire.socket.recv(1) == b""
        assert waiting.socket.recv(1) == b""


@pytest.mark.usefixtures("soon_idle")
def test_a_websocket_on_a_connection_that_was_used_before_is_not_closed_for_idleness(port: int) -> None:
    wire = Wire(port)
    assert [wire.ask(post(HELLO))[0][0] for _ in range(2)] == [200, 200]
    lines = [
        "GET /graphql HTTP/1.1",
        "host: mintong",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol: graphql-transport-ws",
    ]
    assert wire.ask("\r\n".join(lines).encode() + b"\r\n\r\n")[0][0] == 101
    with pytest.raises(TimeoutError):
        silent(wire, 1.0)


@pytest.mark.parametrize("http_protocol", [HttpProtocol.DIRECT, HttpProtocol.ASGI])
def test_who_signs_in_is_authenticated_again_for_every_request_that_is_not_parsed(
    tmp_path: Path, unparsed: list[bytes], direct: list[bytes], http_protocol: HttpProtocol
) -> None:
    settings = settings_for(tmp_path, http_protocol=http_protocol)
    with serving(settings, application(settings, documents=trusted(HELLO))) as port:
        wire, request = Wire(port), post(HELLO, None, "authorization: Bearer x")
        answers = [wire.ask(request)[0] for _ in range(3)]
        assert [status for status, _, _ in answers] == [401] * 3
        assert (len(unparsed), direct) == (2, [])
        for _ in range(2):
            assert wire.ask(post(HELLO, None, "authorization: Bearer x", "x-request-id: 1"))[0][0] == 401
        assert len(unparsed) == 2


def silent(wire: Wire, seconds: float) -> None:
    """Listen for a time; raises TimeoutError when nothing comes."""
    wire.socket.settimeout(seconds)
    try:
        assert wire.socket.recv(1) == b"", "the server sent something"
    finally:
        wire.socket.settimeout(5)


SEEN: list[str] = []
NOTICE = "query Notice { notice }"


@strawberry.type
class NoticeQuery:
    @strawberry.field(directives=[CacheControl(max_age=60, scope=CacheScope.PUBLIC, snapshot=True)])
    def notice(self, info: Info) -> str:
        SEEN.append("notice")
        return f"{info.context.catalogue.version}: {'今日公告' * 400}"


@pytest.mark.parametrize("http_protocol", [HttpProtocol.DIRECT, HttpProtocol.ASGI])
@pytest.mark.parametrize("header", ["accept-encoding: identity", "accept-encoding: gzip"])
def test_a_stored_answer_is_found_by_the_whole_request_until_the_next_publish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, http_protocol: HttpProtocol
) -> None:
    replies: list[bool] = []
    reply = DirectAnswers.reply

    def noting(self: DirectAnswers, *arguments: Any) -> bytes | None:
        found = reply(self, *arguments)
        replies.append(found is not None)
        return found

    monkeypatch.setattr(DirectAnswers, "reply", noting)
    settings, surroundings = settings_for(tmp_path, http_protocol=http_protocol), Surroundings()
    surroundings.catalogue.current = SimpleNamespace(version=1, revision=0, categories=())
    served = application(settings, surroundings, strawberry.Schema(NoticeQuery), trusted(NOTICE))
    SEEN.clear()
    with serving(settings, served) as port:
        wire, other, before = Wire(port), Wire(port), counted(port, "Notice")
        answers = [wire.ask(post(NOTICE, {}, header))[0] for _ in range(4)]
        answers += [wire.ask(post(NOTICE, {}, header, "origin: https://a.example"))[0]]
        answers += [other.ask(post(NOTICE, {}, header))[0]]
        assert len({body for _, _, body in answers}) == 1
        assert len({headers["x-request-id"] for _, headers, _ in answers}) == 6
        assert without_ids(answers[0]) == without_ids(answers[3]) == without_ids(answers[5])
        # The first is parsed, the second found in the engine's cache; the fifth has another head.
        assert sum(replies) == 3
        assert (SEEN, counted(port, "Notice") - before) == (["notice"], 6)
        surroundings.catalogue.current = SimpleNamespace(version=2, revision=0, categories=())
        changed = wire.ask(post(NOTICE, {}, header))[0]
        assert (replies[-1], sum(replies), SEEN) == (False, 3, ["notice"] * 2)
        assert changed[2] != answers[0][2]


def test_a_stored_answer_is_not_given_after_its_time_or_when_it_was_dropped() -> None:
    now = [0.0]
    responses = ResponseCache(100_000, clock=lambda: now[0])
    versions: list[Any] = [(1, 0)]
    ready = ReadyAnswers(responses, lambda: versions[0])

    def put(text: str) -> StoredResponse:
        key = ResponseKey(text, None, (), None, (1, 0))
        return responses.put(
            key, b"{}", max_age_s=10, cache_control="public, max-age=10", vary="", key_bytes=0
        )

    stored = put("a")
    entry = ReadyAnswer(stored, "A")
    assert ready.given(entry) is stored
    versions[0] = (1, 1)
    assert ready.given(entry) is None
    versions[0] = (1, 0)
    now[0] = 10.0
    assert ready.given(entry) is None
    fresh = ReadyAnswer(put("b"), "B")
    assert ready.given(fresh) is not None
    responses.clear()
    assert ready.given(fresh) is None
