"""Requests are answered in turns: who was answered the longest ago goes first, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
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
    wires["n"] = Wire(port)  # new: it goes last
    time.sleep(0.1)
    SAID.clear()
    blocking.socket.sendall(say("x", blocks=True))
    time.sleep(0.1)
    for name in ("n", "c", "a", "b"):
        wires[name].socket.sendall(say(name))
    assert [said(wires[name].read()) for name in ("a", "b", "c", "n")] == ["a", "b", "c", "n"]
    assert SAID == ["x", "a", "b", "c", "n"]
    assert said(blocking.read()) == "x"


class Table:
    """Turns on a clock that stands still unless it is set, and what happened in them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loop = asyncio.new_event_loop()
        self.happened = list[str]()
        self.turns = Turns(lambda: self.now)

    def add(self, answered_at: float, name: str, action: Callable[[], None] = lambda: None) -> None:
        """Let somebody wait whose turn is an action."""
        self.turns.add(Seat(self, answered_at, name, action))

    def serve(self) -> list[str]:
        """Let all take their turns; tell what happened."""
        self.loop.set_exception_handler(lambda _, context: self.happened.append(str(context["exception"])))
        assert self.happened == []
        for _ in range(10):
            self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        return self.happened


class Seat:
    """Notes its turn and what is sent."""

    def __init__(self, table: Table, answered_at: float, name: str, action: Callable[[], None]) -> None:
        self.loop = table.loop
        self.answered_at = answered_at
        self._table, self._name, self._action = table, name, action

    def take_turn(self) -> bytes:
        self._table.happened.append(self._name)
        self._action()
        return self._name.encode()

    def write(self, answer: bytes, answered_at: float) -> None:
        assert answered_at == self._table.now
        self._table.happened.append(f"sent {answer.decode()}")


def test_a_turn_that_fails_takes_none_from_the_others() -> None:
    def fail() -> None:
        raise ValueError("no answer")

    table = Table()
    table.add(4, "d")
    table.add(1, "a")
    table.add(3, "c")
    table.add(2, "b", fail)
    assert table.serve() == ["a", "b", "sent a", "no answer", "c", "d", "sent c", "sent d"]


def test_whoever_comes_between_is_served_by_the_same_rule() -> None:
    table = Table()
    table.add(1, "a", lambda: table.add(2.5, "b+"))
    table.add(2, "b")
    table.add(3, "c", lambda: table.add(2.5, "d"))
    sent = [f"sent {name}" for name in ("a", "b", "b+", "c", "d")]
    assert table.serve() == ["a", "b", "b+", "c", "d", *sent]


def test_sixteen_answers_are_sent_together() -> None:
    table, names = Table(), [f"{number:02}" for number in range(20)]
    for name in names:
        table.add(9.0, name)
    sent = [f"sent {name}" for name in names]
    assert table.serve() == [*names[:16], *sent[:16], *names[16:], *sent[16:]]


def test_after_a_slow_answer_all_are_sent_before_the_next_is_made() -> None:
    table = Table()
    table.add(1, "a")
    table.add(2, "b", lambda: setattr(table, "now", 0.002))
    table.add(3, "c")
    assert table.serve() == ["a", "b", "sent a", "sent b", "c", "sent c"]


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
