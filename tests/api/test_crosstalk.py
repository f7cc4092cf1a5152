"""Nobody receives what belongs to another: over sockets, in the caches' keys, in what the caches hold.

`MINTONG_CROSSTALK_S` is how long the viewers keep asking, 3 seconds when unset.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from api_harness import settings_for
from graphql import get_operation_ast, get_variable_values, parse
from graphql.execution.values import VariableValues
from hypothesis import given, settings
from hypothesis import strategies as st
from viewers_world import (
    OFFICES,
    SCHEMA,
    SECRET,
    UNITS,
    Answered,
    Connection,
    application,
    request_bytes,
    serving,
)

from api.documents import document_hash
from engine.executor import Engine
from engine.fragments import FragmentCache
from engine.responses import ResponseCache
from settings import HttpProtocol

SECONDS = float(os.environ.get("MINTONG_CROSSTALK_S", "3"))
VIEWERS = 200
ME = """query Me($offset: Int!) {
  me(offset: $offset) { name units { id name note office { id name } } }
}"""
MIXED = """query Mixed($offset: Int!) {
  units(offset: $offset) { id label(style: "s") mine office { name } } me { name }
}"""
OPEN = """query Open($offset: Int!) { units(offset: $offset) { id name label office { id name } } }"""


def expected(text: str, offset: int, who: str, language: str) -> dict[str, Any]:
    """Give the only right answer to one of the documents."""
    units = UNITS[offset : offset + 5]
    if text == ME:
        rows = [
            {
                "id": each.id,
                "name": each.name,
                "note": f"{SECRET} {who}: {each.id}",
                "office": {"id": each.office_id, "name": OFFICES[each.office_id].name},
            }
            for each in units
        ]
        return {"me": {"name": f"{SECRET} {who}", "units": rows}}
    if text == MIXED:
        rows = [
            {
                "id": each.id,
                "label": f"{language} s {each.id}",
                "mine": f"{SECRET} {who}: {each.id}",
                "office": {"name": OFFICES[each.office_id].name},
            }
            for each in units
        ]
        return {"units": rows, "me": {"name": f"{SECRET} {who}"}}
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "label": f"{language} plain {each.id}",
            "office": {"id": each.office_id, "name": OFFICES[each.office_id].name},
        }
        for each in units
    ]
    return {"units": rows}


class Citizen:
    """One viewer with a connection, who asks anything, signed in or not, and checks every byte."""

    def __init__(self, number: int, port: int, until: float) -> None:
        self._account = f"account-{number}"
        self._dice = random.Random(number)
        self._port = port
        self._until = until
        self.answers = 0

    async def run(self) -> None:
        connection = await Connection.open(self._port)
        loop = asyncio.get_running_loop()
        try:
            while loop.time() < self._until:
                await self._ask(connection)
                self.answers += 1
        finally:
            await connection.close()

    async def _ask(self, connection: Connection) -> None:
        dice = self._dice
        text = dice.choice((ME, MIXED, OPEN))
        offset, language = dice.randrange(6), dice.choice(("zh", "en"))
        account = self._account if dice.random() < 0.7 else None
        # The same bytes from everybody: only the head says who asks.
        document = {"query": text} if dice.random() < 0.5 else {"documentId": f"sha256:{document_hash(text)}"}
        body = {**document, "variables": {"offset": offset}}
        answer = await connection.ask(request_bytes(body, account=account, language=language))
        who = account or "nobody"
        assert answer.status == 200, answer.body
        assert orjson.loads(answer.body) == {"data": expected(text, offset, who, language)}


@pytest.mark.parametrize("http_protocol", HttpProtocol)
def test_200_viewers_receive_only_their_own(tmp_path: Path, http_protocol: HttpProtocol) -> None:
    settings = settings_for(tmp_path, http_protocol=http_protocol)
    app = application(settings, ME, MIXED, OPEN)

    async def everybody(port: int) -> list[Citizen]:
        until = asyncio.get_running_loop().time() + SECONDS / len(HttpProtocol)
        citizens = [Citizen(number, port, until) for number in range(VIEWERS)]
        async with asyncio.TaskGroup() as group:
            for citizen in citizens:
                group.create_task(citizen.run())
        return citizens

    with serving(settings, app) as port:
        citizens = asyncio.run(everybody(port))
    assert min(citizen.answers for citizen in citizens) >= 1
    assert sum(citizen.answers for citizen in citizens) >= VIEWERS * 2
    engine = app._graphql._lookup._prepare(OPEN, None)._engine  # type: ignore[union-attr]
    assert engine.fragments.hits > 0
    assert engine.responses.hits > 0
    held = kept(engine)
    assert len(held) > 10
    assert [each for each in held if SECRET.encode() in each] == []


def kept(engine: Engine) -> list[bytes]:
    """List everything that the caches of an engine hold."""
    assert engine.fragments is not None
    assert engine.responses is not None
    found = [
        bytes(fragment)
        for generation in engine.fragments._generations.values()
        for table in generation.tables.values()
        for fragment in table.values()
    ]
    for stored, _ in engine.responses._entries.values():
        found += [stored.body, *stored.codings.values()]
    return found


@pytest.mark.parametrize("http_protocol", HttpProtocol)
def test_one_connection_that_changes_its_viewer(tmp_path: Path, http_protocol: HttpProtocol) -> None:
    settings = settings_for(tmp_path, http_protocol=http_protocol)
    body = {"query": ME, "variables": {"offset": 0}}
    public = {"query": OPEN, "variables": {"offset": 0}}

    async def ask(port: int) -> None:
        connection = await Connection.open(port)
        for who in ("a", None, "b", "a", None, None, "b") * 3:
            for asked, text in ((body, ME), (public, OPEN)):
                answer: Answered = await connection.ask(request_bytes(asked, account=who))
                wanted = expected(text, 0, who or "nobody", "zh")
                assert orjson.loads(answer.body) == {"data": wanted}
        await connection.close()

    with serving(settings, application(settings)) as port:
        asyncio.run(ask(port))


# --- keys -------------------------------------------------------------------------------------------------

ECHO = """query Echo($number: Int, $ratio: Float = 1.0, $text: String, $flag: Boolean, $ids: [ID!]) {
  echo(number: $number, ratio: $ratio, text: $text, flag: $flag, ids: $ids)
}"""
DEFINITIONS = get_operation_ast(parse(ECHO)).variable_definitions  # type: ignore[union-attr]
PARTS = {
    "number": st.sampled_from([None, 0, 1, 2]),
    "ratio": st.sampled_from([None, 0, 0.0, -0.0, 1, 1.0, 2.5]),
    "text": st.sampled_from([None, "", "1", "默认", "None", "a\x00b"]),
    "flag": st.sampled_from([None, True, False]),
    "ids": st.none() | st.sampled_from(["1", 1]) | st.lists(st.sampled_from(["1", 1, "", "a"]), max_size=2),
}
REQUESTS = st.tuples(
    st.fixed_dictionaries({}, optional=PARTS), st.sampled_from(["zh", "en"]), st.integers(1, 2)
)


def _context(language: str, version: int) -> Any:
    return SimpleNamespace(language=language, catalogue=SimpleNamespace(version=version), viewer=None)


def _coerced(variables: dict[str, Any]) -> str:
    values = get_variable_values(SCHEMA._schema, DEFINITIONS or (), variables)
    assert isinstance(values, VariableValues)
    return repr(values.coerced)


@settings(max_examples=200, deadline=None)
@given(st.lists(REQUESTS, min_size=2, max_size=12))
def test_keys_are_shared_by_equal_requests_only(requests: list[tuple[dict[str, Any], str, int]]) -> None:
    responses = ResponseCache(1_000_000)
    engine = Engine(
        SCHEMA,
        compile_after=1,
        fragments=FragmentCache(1_000_000),
        responses=responses,
        versions=lambda context: context.catalogue.version,
        language=lambda context: context.language,
    )
    bare = Engine(SCHEMA, compile_after=1)

    async def run() -> None:
        for variables, language, version in requests:
            right = await bare.execute(ECHO, variables, None, _context(language, version))
            answer = await engine.execute(ECHO, variables, None, _context(language, version))
            assert right.errors == []
            assert answer.body == right.body

    asyncio.run(run())
    different = {(_coerced(variables), language, version) for variables, language, version in requests}
    assert len(responses) == responses.misses == len(different)
    assert responses.hits == len(requests) - len(different)
