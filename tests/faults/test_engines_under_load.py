"""Engines that hang and die while citizens read: nobody notices, the operator is told, all comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from load import Load
from processes import api_process, environment, until

from operations.catalogue import withdraw_items
from store.catalogue import CatalogueStore
from store.connections import open_mongodb, open_redis
from store.engines import HealthPolicy
from tests.ports import free_port

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the leash of children is Linux' own"),
    pytest.mark.alone,
]

# A hanging engine is left alone long enough to see what the API says meanwhile.
POLICY = HealthPolicy(interval_s=0.5, timeout_s=6, failures=2, backoff_s=0.1)
NAME = "社会保障卡申领"
SEARCH = """
query Search($text: String!) {
  searchServiceItems(text: $text, first: 20) {
    totalCount
    edges { node { id name division { name } department { name } } }
  }
}
"""
STATUS = "{ catalogueStatus { state reason ageS version } }"


class System:
    """Two API processes of one installation, and what they say of themselves."""

    def __init__(self, ports: list[int], client: httpx.AsyncClient) -> None:
        self.ports = ports
        self._client = client

    async def _get(self, port: int, path: str) -> tuple[int, Any]:
        try:
            response = await self._client.get(f"http://127.0.0.1:{port}{path}")
        except httpx.ConnectError:
            return 0, {"missing": ["listener"]}
        return response.status_code, response.json()

    async def ready(self) -> list[tuple[int, list[str]]]:
        """Give each process's status and what it misses."""
        answers = await asyncio.gather(*(self._get(port, "/readyz") for port in self.ports))
        return [(status, sorted(report["missing"])) for status, report in answers]

    async def ask(self, query: str, **variables: str) -> list[Any]:
        """Give each process's data."""

        async def one(port: int) -> Any:
            url = f"http://127.0.0.1:{port}/graphql"
            answer = (await self._client.post(url, json={"query": query, "variables": variables})).json()
            assert "errors" not in answer, answer
            return answer["data"]

        return list(await asyncio.gather(*(one(port) for port in self.ports)))

    async def states(self) -> list[Any]:
        """Give each process's catalogueStatus."""
        return [data["catalogueStatus"] for data in await self.ask(STATUS)]


def kill_all(engines: Any, number: signal.Signals) -> None:
    for pid in engines.engines.pids.values():
        os.kill(pid, number)


async def hang_and_die(system: System, engines: Any, load: Load) -> None:
    """Stop the engines, look, kill them, and wait until all is well again."""

    async def all_ready() -> bool:
        return await system.ready() == [(200, [])] * 2

    async def names_the_engines() -> bool:
        return await system.ready() == [(503, ["mongodb", "redis"])] * 2

    async def stale() -> bool:
        return all(state["state"] == "STALE" for state in await system.states())

    async def live() -> bool:
        return all(state["state"] == "LIVE" and state["reason"] is None for state in await system.states())

    await until(all_ready, 30, "ready")
    await until(live, 10, "confirmed")
    load.begin()
    await asyncio.sleep(1)
    before = dict(engines.engines.pids)
    kill_all(engines, signal.SIGSTOP)
    await until(names_the_engines, 6, "the probe names both engines")
    await until(stale, 6, "stale")
    first = await system.states()
    await asyncio.sleep(1.5)
    second = await system.states()
    for early, late in zip(first, second, strict=True):
        assert early["reason"] == late["reason"] == "暂时无法确认是否为最新版本"
        assert late["ageS"] > early["ageS"] >= 1
        assert late["version"] == 1
    assert engines.engines.pids == before, "the engines still hang, nobody has replaced them"
    kill_all(engines, signal.SIGKILL)
    await until(all_ready, 30, "ready again without a restart of the API")
    await until(live, 10, "live again")
    assert engines.engines.restarts == {"mongodb": 1, "redis": 1}


async def withdraw_one(system: System, engines: Any) -> float:
    """Withdraw an item and tell how long it took until no process finds it, in seconds."""
    pages = [data["searchServiceItems"] for data in await system.ask(SEARCH, text=NAME)]
    assert pages[0] == pages[1]
    hits = pages[0]["edges"]
    assert hits[0]["node"]["name"] == NAME
    gone = hits[0]["node"]["id"]

    async def missing() -> bool:
        found = [data["searchServiceItems"] for data in await system.ask(SEARCH, text=NAME)]
        ids = [{edge["node"]["id"] for edge in page["edges"]} for page in found]
        counts = [page["totalCount"] for page in found]
        return all(gone not in page for page in ids) and counts == [pages[0]["totalCount"] - 1] * 2

    async with (
        open_mongodb(engines.mongodb_uri, 5_000) as client,
        open_redis(engines.redis_url, 5_000) as redis,
    ):
        store = CatalogueStore(client["mintong"])
        raw_id = (await system.ask(f'{{ serviceItem(id: "{gone}") {{ rowId }} }}'))[0]["serviceItem"]["rowId"]
        assert await withdraw_items(store, redis, [raw_id], now=datetime.now(UTC)) == 1
    took = await until(missing, 10, "withdrawn everywhere")
    assert await system.ask(f'{{ serviceItem(id: "{gone}") {{ id }} }}') == [{"serviceItem": None}] * 2
    return took


def test_reads_outlive_the_engines(engines_factory: Callable[..., Any], tmp_path: Path) -> None:
    engines = engines_factory(policy=POLICY)
    home = tmp_path / "home"
    variables = environment(engines, home)
    filled = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "catalogue", "--limit", "3000"],
        env=variables | {"MINTONG_ENGINE_TIMEOUT_MS": "30000"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert filled.returncode == 0, filled.stderr
    ports = [free_port(), free_port()]

    async def run() -> Load:
        bodies = [
            orjson.dumps({"query": SEARCH, "variables": {"text": text}})
            for text in ("社保卡", "登记", "shebao", "sbk", "护照", "", "不动产登记", "社会保障卡申领")
        ]
        load = Load(ports, bodies, rate=300, connections=8)
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client, load:
            system = System(ports, client)
            await hang_and_die(system, engines, load)
            await withdraw_one(system, engines)
        return load

    with ExitStack() as stack:
        processes = [
            stack.enter_context(api_process(variables, port, tmp_path / f"api-{port}.log")) for port in ports
        ]
        load = asyncio.run(run())
        assert [process.poll() for process in processes] == [None, None]
    assert load.failures == Counter()
    assert load.answered > 1_000
    assert load.slowest_s < 2
