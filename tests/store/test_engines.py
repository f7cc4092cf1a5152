from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AuthenticationError

from store.connections import open_mongodb, open_redis
from store.engines import EmbeddedEngines, EngineError, HealthPolicy, bound_log, find_running, join_or_start

QUICK = HealthPolicy(interval_s=0.1, timeout_s=0.5, failures=2, backoff_s=0.05)
ROOT = Path(__file__).resolve().parents[2]


async def eventually(check: Callable[[], Awaitable[bool] | bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while True:
        result = check()
        if (await result) if not isinstance(result, bool) else result:
            return
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_shared_pair_answers(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def main() -> None:
        async with open_mongodb(mongodb_uri, 5000) as client:
            await client[database_name].things.insert_one({"_id": 1, "name": "社保"})
            assert await client[database_name].things.find_one({"name": "社保"}) == {"_id": 1, "name": "社保"}
        async with open_redis(redis_url, 5000) as redis:
            await redis.set(f"{database_name}:k", "v")
            assert await redis.getdel(f"{database_name}:k") == b"v"

    asyncio.run(main())


def test_killed_engine_comes_back_with_all_acknowledged_data(engines_factory: Callable[..., Any]) -> None:
    running = engines_factory(policy=QUICK)

    async def main() -> None:
        before = running.engines.pids
        async with (
            open_mongodb(running.mongodb_uri, 5000) as client,
            open_redis(running.redis_url, 5000) as redis,
        ):
            for number in range(200):
                await client.faults.rows.insert_one({"_id": number})
                await redis.rpush("rows", number)
            for pid in before.values():
                os.kill(pid, signal.SIGKILL)
            await eventually(lambda: set(running.engines.restarts.values()) == {1}, 20)
            # The same clients go on: the port has not changed.
            assert await client.faults.rows.count_documents({}) == 200
            assert await redis.llen("rows") == 200
            await client.faults.rows.insert_one({"_id": 200})
        after = running.engines.pids
        assert all(after[name] != before[name] for name in ("mongodb", "redis"))
        record = json.loads((running.engines.home / "engines.json").read_text())
        assert record["engines"] == after

    asyncio.run(main())


def test_hanging_engine_is_replaced(engines_factory: Callable[..., Any]) -> None:
    running = engines_factory(policy=QUICK)

    async def main() -> None:
        before = running.engines.pids
        async with (
            open_mongodb(running.mongodb_uri, 5000) as client,
            open_redis(running.redis_url, 5000) as redis,
        ):
            await client.faults.rows.insert_one({"_id": 1})
            for pid in before.values():
                os.kill(pid, signal.SIGSTOP)
            await eventually(lambda: set(running.engines.restarts.values()) == {1}, 20)
            assert await client.faults.rows.count_documents({}) == 1
            assert await redis.ping() is True
        assert not any(is_alive(pid) for pid in before.values())

    asyncio.run(main())


def test_data_survives_a_clean_stop_and_files_are_private(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def session() -> int:
        async with EmbeddedEngines(home, policy=QUICK) as engines:
            modes = {
                path.name: path.stat().st_mode & 0o777
                for path in (
                    home / "engines.json",
                    home / "redis" / "redis.conf",
                    home / "redis" / "password",
                )
            }
            assert set(modes.values()) == {0o600}, modes
            async with open_mongodb(engines.mongodb_uri, 5000) as client:
                await client.faults.rows.insert_one({})
                return await client.faults.rows.count_documents({})

    assert asyncio.run(session()) == 1
    assert not (home / "engines.json").exists()
    assert asyncio.run(session()) == 2


def test_redis_refuses_who_lacks_the_password(engines_factory: Callable[..., Any]) -> None:
    running = engines_factory()

    async def main() -> None:
        port = running.redis_url.rpartition(":")[2]
        async with open_redis(f"redis://127.0.0.1:{port}", 2000) as redis:
            with pytest.raises(AuthenticationError):
                await redis.get("x")

    asyncio.run(main())


def test_second_start_is_refused_and_joining_works(engines_factory: Callable[..., Any]) -> None:
    running = engines_factory()

    async def main() -> None:
        home = running.engines.home
        with pytest.raises(EngineError, match=rf"in use by process {os.getpid()}"):
            async with EmbeddedEngines(home):
                pass
        async with join_or_start(home) as addresses:
            assert addresses.mongodb_uri == running.mongodb_uri
            assert addresses.redis_url == running.redis_url
        # A visitor who leaves stops nothing.
        async with open_redis(running.redis_url, 2000) as redis:
            assert await redis.ping() is True

    asyncio.run(main())


def test_nothing_runs_for_an_unknown_home(tmp_path: Path) -> None:
    assert find_running(tmp_path / "nowhere") is None


_PARENT = """
import asyncio, json, sys
from pathlib import Path
from store.engines import EmbeddedEngines

async def main():
    async with EmbeddedEngines(Path(sys.argv[1])) as engines:
        print(json.dumps(engines.pids), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_killed_parent_leaves_no_engine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        assert all(is_alive(pid) for pid in pids.values())
        parent.kill()
        parent.wait()

    async def main() -> None:
        await eventually(lambda: not any(is_alive(pid) for pid in pids.values()), 3)
        async with EmbeddedEngines(home, policy=QUICK) as engines:
            assert set(engines.pids) == {"mongodb", "redis"}

    asyncio.run(main())


def test_engine_left_behind_is_ended_at_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "redis").mkdir(parents=True)
    # Where the kernel has no leash, a killed parent leaves its engines running in their folders.
    with (
        subprocess.Popen(["sleep", "60"], cwd=home / "redis") as orphan,
        subprocess.Popen(["sleep", "60"], cwd=tmp_path) as stranger,
    ):
        record = {"pid": 1, "engines": {"redis": orphan.pid, "mongodb": stranger.pid}}
        (home / "engines.json").write_text(json.dumps(record))

        async def main() -> None:
            async with EmbeddedEngines(home, mongodb=False):
                pass

        asyncio.run(main())
        assert orphan.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.kill()


def test_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "redis").mkdir(parents=True)
    (home / "redis" / "appendonly.aof").write_bytes(b"this is no append-only file\r\n")

    async def main() -> None:
        with pytest.raises(EngineError, match=r"redis stopped while starting. Its log, .*redis.log, ends: "):
            async with EmbeddedEngines(home, mongodb=False):
                pass
        assert find_running(home) is None

    asyncio.run(main())


def test_engine_that_keeps_dying_is_given_up(tmp_path: Path) -> None:
    policy = HealthPolicy(interval_s=0.05, timeout_s=0.5, backoff_s=0.01, backoff_max_s=0.02, restarts=2)

    async def main() -> None:
        async with EmbeddedEngines(tmp_path / "home", mongodb=False, policy=policy) as engines:
            failed = asyncio.ensure_future(engines.wait_failed())
            deadline = time.monotonic() + 20
            while not failed.done() and time.monotonic() < deadline:
                for pid in engines.pids.values():
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.02)
            with pytest.raises(EngineError, match="redis failed too often"):
                await failed

    asyncio.run(main())


def test_log_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    with path.open("ab") as writer:
        writer.write(b"x" * (4 * 1024 * 1024 + 1))
        writer.flush()
        bound_log(path)
        writer.write(b"after")
    assert path.read_bytes() == b"after"
    assert (tmp_path / "engine.log.1").stat().st_size == 4 * 1024 * 1024 + 1
