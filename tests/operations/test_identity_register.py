"""Real names against a register that is slow, broken, or answers somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from account_world import NOW, World, Worlds, some_phone, with_phones
from register_server import (
    DROPS,
    NAME,
    RESET,
    RESIDENT,
    RIGHT,
    SILENT,
    STRANGER,
    Register,
    open_register_server,
)
from structlog.testing import capture_logs

from api.identity import open_identity_register
from domain.access import Assurance
from domain.account import IdentityMismatchError, IdentityServiceError, TooManyRequestsError
from domain.errors import UpstreamFailure
from operations import account as operations
from settings import Settings
from store.demo_residents import DemoRegister
from store.identity_register import (
    ATTEMPTS,
    OPEN_AFTER,
    OPEN_S,
    HttpRegister,
    RegisterConfig,
    open_register,
)

TRANSIENT, PERMANENT = UpstreamFailure.TRANSIENT, UpstreamFailure.PERMANENT


@asynccontextmanager
async def opened(*plan: Any) -> AsyncIterator[tuple[HttpRegister, Register]]:
    async with (
        open_register_server(*plan) as server,
        open_register(RegisterConfig(server.url, "key", timeout_s=0.3)) as register,
    ):
        yield register, server


def test_the_register_says_whether_name_and_number_belong_together() -> None:
    async def main() -> None:
        async with opened() as (register, server):
            assert await register.matches(NAME, RESIDENT)
            assert not await register.matches("王小明", RESIDENT)
            assert [sorted(each) for each in server.asked] == [["name", "requestId", "residentId"]] * 2
            assert len({each["requestId"] for each in server.asked}) == 2
            assert server.tokens == {"bearer key"}

    asyncio.run(main())


@pytest.mark.parametrize(
    "fault",
    [SILENT, DROPS, RESET, STRANGER, (500, b""), (503, b"busy"), (429, b""), (200, b"<html>"), (200, b"")],
)
def test_what_may_pass_is_tried_once_more_and_no_more(fault: Any) -> None:
    async def main() -> None:
        async with opened(fault) as (register, server):
            assert await register.matches(NAME, RESIDENT)
            assert len(server.asked) == 2
        async with opened(*[fault] * 3) as (register, server):
            structlog.reset_defaults()
            with capture_logs() as lines, pytest.raises(IdentityServiceError) as caught:
                await register.matches(NAME, RESIDENT)
            assert caught.value.failure is TRANSIENT
            assert len(server.asked) == ATTEMPTS
            shown = str(lines) + repr(caught.value) + repr(caught.value.__cause__)
            assert NAME not in shown
            assert RESIDENT not in shown
            assert caught.value.params == {}

    asyncio.run(main())


@pytest.mark.parametrize(
    "fault",
    [(401, b""), (404, b""), (400, b"no"), (302, b""), (204, b""), (200, b"{}"), (200, b'{"match":1}')],
)
def test_what_must_be_repaired_is_asked_once(fault: Any) -> None:
    async def main() -> None:
        async with opened(fault) as (register, server):
            structlog.reset_defaults()
            with capture_logs() as lines, pytest.raises(IdentityServiceError) as caught:
                await register.matches(NAME, RESIDENT)
            assert caught.value.failure is PERMANENT
            assert len(server.asked) == 1
            assert [line["log_level"] for line in lines] == ["error"]
            assert RESIDENT not in str(lines)

    asyncio.run(main())


def test_a_register_that_nobody_listens_at_is_away() -> None:
    async def main() -> None:
        async with open_register(RegisterConfig("http://127.0.0.1:1/", "key", timeout_s=0.3)) as register:
            with pytest.raises(IdentityServiceError) as caught:
                await register.matches(NAME, RESIDENT)
            assert caught.value.failure is TRANSIENT

    asyncio.run(main())


def test_a_register_that_keeps_failing_is_left_alone_for_a_while() -> None:
    async def main() -> None:
        now = 1_000.0
        broken = (403, b"")
        async with open_register_server(*[broken] * (OPEN_AFTER + 1)) as server, httpx.AsyncClient() as http:
            config = RegisterConfig(server.url, "key", timeout_s=1)
            register = HttpRegister(http, config, clock=lambda: now)

            async def fails() -> bool:
                try:
                    await register.matches(NAME, RESIDENT)
                except IdentityServiceError:
                    return True
                return False

            for _ in range(OPEN_AFTER + 3):
                assert await fails()
            assert len(server.asked) == OPEN_AFTER
            now += OPEN_S
            # One call tries; those that come meanwhile are not let through.
            assert await asyncio.gather(fails(), fails(), fails()) == [True] * 3
            assert len(server.asked) == OPEN_AFTER + 1
            now += OPEN_S - 0.1
            assert await fails()
            assert len(server.asked) == OPEN_AFTER + 1
            now += 0.2
            assert not await fails()
            assert await asyncio.gather(fails(), fails()) == [False] * 2
            assert len(server.asked) == OPEN_AFTER + 4

    asyncio.run(main())


def test_an_outage_changes_nothing_and_costs_no_try(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        viewer = await world.viewer(await world.sign_in(some_phone()))
        async with opened() as (register, server):
            identity = with_phones(world, register=register)

            async def refused(name: str, error: type[Exception]) -> None:
                before = await world.database["accounts"].find({}).to_list()
                with pytest.raises(error):
                    await operations.verify_identity(identity, viewer, name, RESIDENT, now=NOW)
                assert await world.database["accounts"].find({}).to_list() == before

            for _ in range(4):
                await refused("王小明", IdentityMismatchError)
            for fault in ((500, b""), STRANGER):
                server.plan = [fault] * ATTEMPTS
                for _ in range(2):
                    await refused(NAME, IdentityServiceError)
                    server.plan = [fault] * ATTEMPTS
            server.plan = [(502, b""), RIGHT]
            signed_in = await operations.verify_identity(identity, viewer, NAME, RESIDENT, now=NOW)
            assert signed_in.account.assurance is Assurance.L2

    worlds.run(work)


def test_an_account_asks_so_often_a_day_whatever_the_answers(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        viewer = await world.viewer(await world.sign_in(some_phone()))
        async with opened(*[(404, b"")] * 20) as (_, server):
            for number in range(21):
                async with open_register(RegisterConfig(server.url, "key")) as register:
                    identity = with_phones(world, register=register)
                    error = IdentityServiceError if number < 20 else TooManyRequestsError
                    with pytest.raises(error):
                        await operations.verify_identity(identity, viewer, NAME, RESIDENT, now=NOW)
            assert len(server.asked) == 20

    worlds.run(work)


def test_the_settings_choose_the_register(tmp_path: Path) -> None:
    async def kind(**values: Any) -> str:
        settings = Settings.model_validate({"home": tmp_path, **values})
        async with open_identity_register(settings) as register:
            return type(register).__name__

    async def main() -> None:
        assert await kind() == DemoRegister.__name__
        assert await kind(environment="production") == "NoneType"
        assert await kind(identity_url="http://127.0.0.1:1/") == HttpRegister.__name__
        secure = {"environment": "production", "identity_url": "https://127.0.0.1:1/"}
        assert await kind(**secure) == HttpRegister.__name__
        with pytest.raises(ValueError, match="must be https in production"):
            await kind(environment="production", identity_url="http://127.0.0.1:1/")

    asyncio.run(main())
