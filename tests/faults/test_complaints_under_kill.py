"""Complaints while the API and the database are killed: every acknowledged one is there once, whole.

`MINTONG_KILL_COMPLAINTS=20000 MINTONG_KILL_CITIZENS=2000 MINTONG_KILLS=12 pytest
tests/faults/test_complaints_under_kill.py` runs the full size.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from citizens import Citizens, make_tokens
from processes import api_process, environment, until

from api.complaints import open_complaints
from operations.complaint_audit import audit
from operations.complaints import Complaints
from settings import Settings
from store.complaint_statistics import StatisticsStore
from store.connections import open_mongodb
from store.engines import HealthPolicy
from tests.ports import free_port

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the leash of children is Linux' own"),
    pytest.mark.timeout(1_800),
]

COMPLAINTS = int(os.environ.get("MINTONG_KILL_COMPLAINTS", "600"))
CITIZENS = int(os.environ.get("MINTONG_KILL_CITIZENS", "60"))
KILLS = int(os.environ.get("MINTONG_KILLS", "4"))
POLICY = HealthPolicy(interval_s=0.5, timeout_s=10, failures=3, backoff_s=0.1)


class Killer:
    """Kills the API or the database at random moments, until enough were killed and the work is done."""

    def __init__(self, engines: Any, variables: dict[str, str], port: int, log: Path) -> None:
        self._engines = engines
        self._start = lambda: api_process(variables, port, log)
        self._url = f"http://127.0.0.1:{port}/readyz"
        self.stack = ExitStack()
        self.process = self.stack.enter_context(self._start())
        self.killed = {"api": 0, "mongodb": 0}

    async def wait_ready(self) -> None:
        """Wait until the API answers."""

        async def answers() -> bool:
            try:
                async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
                    return "mongodb" not in (await client.get(self._url)).json()["missing"]
            except httpx.HTTPError:
                return False

        await until(answers, 60, "the API answers")

    async def kill(self) -> None:
        """Kill `KILLS` times, the API and the database in turn."""
        for turn in range(KILLS):
            await asyncio.sleep(random.uniform(0.3, 2.5 if COMPLAINTS < 5_000 else 8))
            victim = ("api", "mongodb")[turn % 2]
            self.killed[victim] += 1
            if victim == "api":
                self.process.kill()
                self.process.wait()
                self.process = self.stack.enter_context(self._start())
            else:
                os.kill(self._engines.engines.pids["mongodb"], signal.SIGKILL)
            await self.wait_ready()


@asynccontextmanager
async def reading(variables: dict[str, str]) -> AsyncIterator[Complaints]:
    settings = Settings.model_validate(
        {
            "home": variables["MINTONG_HOME"],
            "mongodb_uri": variables["MONGODB_URI"],
            "environment": "development",
        }
    )
    async with (
        open_mongodb(variables["MONGODB_URI"], 30_000) as client,
        open_complaints(settings, client) as own,
    ):
        yield own


def test_no_acknowledged_complaint_is_lost_or_there_twice(
    engines_factory: Callable[..., Any], tmp_path: Path
):
    engines = engines_factory(policy=POLICY)
    home, port = tmp_path / "home", free_port()
    variables = environment(engines, home) | {
        "MINTONG_ENGINE_TIMEOUT_MS": "5000",
        "MINTONG_COMPLAINT_ACCOUNT_LIMIT": "1000 per 1 minute",
    }
    filled = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "units"],
        env=variables | {"MINTONG_ENGINE_TIMEOUT_MS": "30000"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert filled.returncode == 0, filled.stderr

    async def run() -> tuple[Citizens, Killer]:
        tokens = await make_tokens(engines.mongodb_uri, "mintong", home, CITIZENS)
        url, pause_s = f"http://127.0.0.1:{port}/graphql", 0.6 if COMPLAINTS < 5_000 else 0.0
        citizens = Citizens(url, tokens, COMPLAINTS // CITIZENS, pause_s)
        killer = Killer(engines, variables, port, tmp_path / "api.log")
        with killer.stack:
            await killer.wait_ready()
            killing = asyncio.create_task(killer.kill())
            await citizens.submit_all(connections=16)
            await killing
        return citizens, killer

    async def verify(citizens: Citizens) -> None:
        async with reading(variables) as own, open_mongodb(engines.mongodb_uri, 60_000) as client:
            stored = client["mintong"]["complaints"]
            numbers = [document["_id"] async for document in stored.find({}, {"_id": 1})]
            assert len(numbers) == len(set(numbers)) == COMPLAINTS
            assert set(numbers) == set(citizens.acknowledged)
            report = await audit(own, StatisticsStore(client["mintong"]), now=datetime.now(UTC))
            assert (report.checked, report.faults) == (COMPLAINTS, {})
            for number in random.sample(numbers, min(len(numbers), 300)):
                texts = await own.store.open_texts(await own.store.get(number))
                assert f"第{citizens.acknowledged[number]}件事" in texts[0]["text"]
                assert texts[0]["phone"] == "13800138000"

    citizens, killer = asyncio.run(run())
    assert len(citizens.acknowledged) == COMPLAINTS
    assert killer.killed == {"api": (KILLS + 1) // 2, "mongodb": KILLS // 2}
    assert engines.engines.restarts["mongodb"] == KILLS // 2
    asyncio.run(verify(citizens))
    print(f"\n{COMPLAINTS} complaints, killed {killer.killed}, tries {dict(citizens.tries)}")
