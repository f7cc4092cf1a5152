"""Requests are answered in turns: who was answered the longest ago goes first, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import strawberry
from api_harness import application, settings_for, trusted
from viewers_world import serving
from wire import Wire, post

from api.direct import DirectAnswers
from api.http_protocol import GraphQLProtocol
from api.turns import Turns

SAY = "query Say($name: String!, $blocks: Boolean = false) { say(name: $name, blocks: $blocks) }"
LATE = "query Late { late }"
SAID: list[str] = []


@strawberry.type
class Query:
    @strawberry.field
    def say(self, name: str, blocks: bool) -> str:
        if blocks:
            time.sleep(0.3)
        SAID.append(name)
        return name

    @strawberry.field
    async def late(self) -> str:
        await asyncio.sleep(0.1)
        return "at last"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    SAID.clear()
    settings = settings_for(tmp_path)
    app = application(settings, schema=strawberry.Schema(Query), documents=trusted(SAY, LATE))
    with serving(settings, app) as port:
        yield port


def say(name: str, **more: Any) -> bytes:
    return post(SAY, {"name": name, **more})


def said(answer: tuple[int, dict[str, str], bytes]) -> str:
    assert answer[0] == 200
    return str(orjson.loads(answer[2])["data"]["say"])


def known(port: int, name: str) -> Wire:
    """Open a connection and ask until requests with a name of this length are no longer parsed."""
    wire = Wire(port)
    assert [said(wire.ask(say(name))[0]) for _ in range(2)] == [name, name]
    return wire


def test_who_was_answered_the_longest_ago_goes_first(port: int) -> None:
    wires = {name: known(port, name) for name in ("a", "b", "c")}
    blocking = known(port, "x")
    blocking.ask(say("x", blocks=True))
    SAID.clear()
    blocking.socket.sendall(say("x", blocks=True))
    time.sleep(0.1)
    for name in ("c", "a", "b"):
        wires[name].socket.sendall(say(name))
    assert [said(wires[name].read()) for name in ("a", "b", "c")] == ["a", "b", "c"]
    assert SAID == ["x", "a", "b", "c"]
    assert said(blocking.read()) == "x"


class Seat:
    """Takes its turn by an action of its own, and notes it and what is sent."""

    def __init__(self, log: list[str], answered_at: float, name: str, action: Any = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.answered_at = answered_at
        self._log, self._name, self._action = log, name, action

    def take_turn(self) -> bytes:
        self._log.append(self._name)
        if self._action is not None:
            self._action()
        return self._name.encode()

    def write(self, answer: bytes, answered_at: float) -> None:
        assert answered_at <= time.perf_counter()
        self._log.append(f"sent {answer.decode()}")


async def served(seats: list[tuple[float, str, Any]]) -> list[str]:
    """Let all take their turns; tell what happened."""
    log = list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: log.append(str(context["exception"])))
    turns = Turns()
    for answered_at, name, action in seats:
        turns.add(Seat(log, answered_at, name, partial(action, turns, log) if action else None))
    assert log == []
    for _ in range(10):
        await asyncio.sleep(0)
    return log


def test_a_turn_that_fails_takes_none_from_the_others() -> None:
    def fail(_turns: Turns, _log: list[str]) -> None:
        raise ValueError("no answer")

    happened = asyncio.run(served([(4, "d", None), (1, "a", None), (3, "c", None), (2, "b", fail)]))
    assert happened == ["a", "b", "sent a", "no answer", "c", "d", "sent c", "sent d"]


def test_whoever_comes_between_is_served_by_the_same_rule() -> None:
    def add(turns: Turns, log: list[str]) -> None:
        turns.add(Seat(log, 2.5, "b+"))

    happened = asyncio.run(served([(1, "a", add), (2, "b", None), (3, "c", add)]))
    assert happened == ["a", "b", "b+", "c", "b+", *(f"sent {name}" for name in ("a", "b", "b+", "c", "b+"))]


def test_sixteen_answers_are_sent_together_and_a_slow_one_lets_none_wait() -> None:
    names = [f"{number:02}" for number in range(20)]
    happened = asyncio.run(served([(9.0, name, None) for name in names]))
    first, second = names[:16], names[16:]
    sent = {name: f"sent {name}" for name in names}
    assert happened == [*first, *map(sent.get, first), *second, *map(sent.get, second)]

    def slow(_turns: Turns, _log: list[str]) -> None:
        time.sleep(0.002)

    happened = asyncio.run(served([(1, "a", None), (2, "b", slow), (3, "c", None)]))
    assert happened == ["a", "b", "sent a", "sent b", "c", "sent c"]


def in_pieces(monkeypatch: pytest.MonkeyPatch, after: Any = None) -> None:
    """Let requests that arrive together arrive one after the other, and something happen after `last`."""
    received = GraphQLProtocol.data_received

    def separately(self: GraphQLProtocol, data: bytes) -> None:
        for piece in data.split(b"POST ")[1:]:
            received(self, b"POST " + piece)
            if after is not None and b'"last"' in piece:
                after(self)

    monkeypatch.setattr(GraphQLProtocol, "data_received", separately)


def test_a_request_behind_one_that_waits_for_its_turn_is_answered_after_it(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pieces(monkeypatch)
    wire = known(port, "four")
    answers = wire.ask(say("no 1"), say("no 2"), post("query { __typename }"), say("no 3"))
    assert [said(answers[place]) for place in (0, 1, 3)] == ["no 1", "no 2", "no 3"]
    assert orjson.loads(answers[2][2])["errors"][0]["extensions"]["code"] == "DOCUMENT_NOT_FOUND"
    for _ in range(3):
        late, quick = wire.ask(post(LATE), say("no 4"))
        assert orjson.loads(late[2])["data"] == {"late": "at last"}
        assert said(quick) == "no 4"


def test_a_server_that_stops_answers_first_what_waits_for_its_turn(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pieces(monkeypatch, GraphQLProtocol.shutdown)
    wire = known(port, "four")
    assert said(wire.ask(say("last"))[0]) == "last"
    assert wire.socket.recv(1) == b""


def test_nothing_is_run_for_a_client_that_left_before_its_turn(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pieces(monkeypatch, lambda self: self.transport.abort())
    wire, other = known(port, "four"), known(port, "b")
    SAID.clear()
    wire.socket.sendall(say("last"))
    assert wire.socket.recv(1) == b""
    assert said(other.ask(say("b"))[0]) == "b"
    assert SAID == ["b"]


def test_an_error_of_our_own_closes_its_connection_only(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, other = known(port, "four"), known(port, "b")
    answer = DirectAnswers.answer

    def failing(self: DirectAnswers, head: Any, request: bytes, *more: Any) -> Any:
        if b'"fail"' in request:
            raise ValueError
        return answer(self, head, request, *more)

    monkeypatch.setattr(DirectAnswers, "answer", failing)
    wire.socket.sendall(say("fail"))
    assert wire.socket.recv(1) == b""
    assert said(other.ask(say("b"))[0]) == "b"
