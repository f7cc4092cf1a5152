"""WeChat: login codes, one access token for all processes, one message for each consent."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import WechatSignInError
from notifications.channels.base import Outcome, Push, Receipt
from notifications.channels.wechat import (
    WechatClient,
    WechatConfig,
    WechatRefusedError,
    WechatSession,
    WechatUnavailableError,
    open_wechat,
)
from notifications.channels.wechat_messages import KEYWORD_CHARS, VERDICTS, WechatChannel, WechatTemplate, fit
from store.connections import open_mongodb, open_redis
from store.wechat_grants import WechatGrantStore
from tests.notifications.wechat_server import APP_ID, SECRET, Fault, Wechat, running_wechat_server

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
TEMPLATES = {
    "": WechatTemplate("template-1", {"thing1": "title", "time2": "at"}, "pages/message/index"),
    "BUS": WechatTemplate("template-2", {"thing1": "body"}),
    "BROKEN": WechatTemplate("template-9", {"thing1": "body"}),
}
MESSAGE = {"touser": "o1", "template_id": "template-2", "data": {"thing1": {"value": "text"}}}


@asynccontextmanager
async def world(redis_url: str) -> AsyncIterator[tuple[Wechat, WechatClient, WechatClient]]:
    """A server and the clients of two processes; no token is known yet."""
    async with (
        running_wechat_server() as wechat,
        open_redis(redis_url, 5000) as redis,
        open_redis(redis_url, 5000) as other_redis,
    ):
        await redis.delete(f"mintong:wechat:token:{APP_ID}", f"mintong:wechat:token-lock:{APP_ID}")
        config = WechatConfig(APP_ID, SECRET, endpoint=wechat.url, timeout_s=2)
        async with open_wechat(config, redis) as client, open_wechat(config, other_redis) as other:
            yield wechat, client, other


def test_a_login_code_names_its_user_once(redis_url: str) -> None:
    async def main() -> None:
        async with world(redis_url) as (wechat, client, _):
            assert await client.code_to_session("code-of-o1") == WechatSession("o1", "union-o1")
            for code in ("code-of-o1", "nonsense"):
                with pytest.raises(WechatSignInError):
                    await client.code_to_session(code)
            assert wechat.requests["/sns/jscode2session"] == 3

    asyncio.run(main())


def test_no_error_shows_the_secret(redis_url: str) -> None:
    async def main() -> None:
        async with open_redis(redis_url, 5000) as redis:
            config = WechatConfig(APP_ID, SECRET, endpoint="http://127.0.0.1:1")
            async with open_wechat(config, redis) as client:
                with pytest.raises(WechatSignInError) as caught:
                    await client.code_to_session("code-of-o1")
        error: BaseException | None = caught.value
        while error is not None:
            assert SECRET not in repr(error)
            error = error.__cause__

    asyncio.run(main())


def test_all_processes_share_one_access_token(redis_url: str) -> None:
    async def main() -> None:
        async with world(redis_url) as (wechat, client, other):
            wechat.token_delay_s = 0.2
            wechat.consents["o1", "template-2"] = 20
            clients = [client, other] * 8
            await asyncio.gather(*(each.send_subscribe_message(MESSAGE) for each in clients))
            assert wechat.tokens == ["access-1"]
            assert wechat.requests["/cgi-bin/stable_token"] == 1
            assert len(wechat.messages) == 16

    asyncio.run(main())


def test_a_refused_token_whose_renewal_failed_is_not_taken_for_none(redis_url: str) -> None:
    async def main() -> None:
        async with world(redis_url) as (wechat, client, other):
            wechat.consents["o1", "template-2"] = 2
            await client.send_subscribe_message(MESSAGE)
            wechat.expire_tokens()
            wechat.token_error = 45009
            with pytest.raises(WechatRefusedError) as caught:
                await client.send_subscribe_message(MESSAGE)
            assert caught.value.code == 45009
            assert (wechat.tokens, wechat.forced, len(wechat.messages)) == (["access-1"], 0, 1)
            wechat.token_error = None
            await other.send_subscribe_message(MESSAGE)
            assert (wechat.tokens, wechat.forced) == (["access-1", "access-2"], 1)
            assert len(wechat.messages) == 2

    asyncio.run(main())


def test_a_refused_token_is_renewed_once_for_all(redis_url: str) -> None:
    async def main() -> None:
        async with world(redis_url) as (wechat, client, other):
            wechat.consents["o1", "template-2"] = 20
            await client.send_subscribe_message(MESSAGE)
            wechat.expire_tokens()
            clients = [client, other] * 4
            await asyncio.gather(*(each.send_subscribe_message(MESSAGE) for each in clients))
            assert wechat.tokens == ["access-1", "access-2"]
            assert wechat.forced == 1
            assert len(wechat.messages) == 9
            # A fresh token that is refused too is not renewed again for the same message.
            wechat.script = [42001, 42001]
            with pytest.raises(WechatRefusedError) as caught:
                await client.send_subscribe_message(MESSAGE)
            assert caught.value.code == 42001
            assert len(wechat.tokens) == 3
            assert len(wechat.messages) == 9

    asyncio.run(main())


def test_without_redis_or_with_a_dead_lock_messages_still_go_out(redis_url: str) -> None:
    async def main() -> None:
        async with world(redis_url) as (wechat, client, _), open_redis(redis_url, 5000) as redis:
            wechat.consents["o1", "template-2"] = 5
            await redis.set(f"mintong:wechat:token-lock:{APP_ID}", "a process that died", px=300)
            await client.send_subscribe_message(MESSAGE)
            async with open_redis("redis://127.0.0.1:1", 200) as nowhere:
                config = WechatConfig(APP_ID, SECRET, endpoint=wechat.url)
                async with open_wechat(config, nowhere) as alone:
                    await alone.send_subscribe_message(MESSAGE)
            assert len(wechat.messages) == 2
            assert wechat.tokens == ["access-1"]

    asyncio.run(main())


def test_without_a_token_it_is_known_that_nothing_was_sent(redis_url: str) -> None:
    async def main() -> None:
        async with world(redis_url) as (wechat, client, _):
            wechat.token_error = 40164
            with pytest.raises(WechatRefusedError):
                await client.send_subscribe_message(MESSAGE)
        async with open_redis(redis_url, 5000) as redis:
            config = WechatConfig(APP_ID, SECRET, endpoint="http://127.0.0.1:1")
            async with open_wechat(config, redis) as client:
                with pytest.raises(WechatUnavailableError) as caught:
                    await client.send_subscribe_message(MESSAGE)
            assert caught.value.sent is False

    asyncio.run(main())


def push(openid: str = "o1", device_id: str = "d", **changes: Any) -> Push:
    made = Push(
        device_id=device_id,
        token=openid,
        title="您有一条新的办件进度消息，请打开小程序查看详情",
        body="3 路公交车即将到站",
        data={"kind": "APPLICATION", "message": "m 1", "at": "2026年11月22日 12:00"},
        collapse_key="m1",
        expires_at=NOW + timedelta(minutes=5),
        urgent=False,
    )
    return msgspec.structs.replace(made, **changes)


Work = Callable[[Wechat, WechatChannel, WechatGrantStore], Awaitable[None]]


def with_channel(redis_url: str, mongodb_uri: str, database_name: str, work: Work) -> None:
    async def main() -> None:
        async with world(redis_url) as (wechat, client, _), open_mongodb(mongodb_uri, 20_000) as mongodb:
            grants = WechatGrantStore(mongodb[database_name])
            await grants.ensure_indexes()
            await work(wechat, WechatChannel(client, grants, TEMPLATES), grants)

    asyncio.run(main())


async def allow(wechat: Wechat, grants: WechatGrantStore, openid: str, *templates: str) -> None:
    """The citizen says yes: WeChat counts it and the mini-program reports it."""
    for template in templates:
        wechat.consents[openid, template] += 1
    await grants.grant(openid, "a", templates, key=secrets.token_hex(8), now=NOW)


def test_one_message_for_each_consent(redis_url: str, mongodb_uri: str, database_name: str) -> None:
    async def work(wechat: Wechat, channel: WechatChannel, grants: WechatGrantStore) -> None:
        await allow(wechat, grants, "o1", "template-1", "template-2")
        bus = push(data={"kind": "BUS"})
        receipts = await channel.send([push(), push(device_id="e"), bus, push("o2", "f")], now=NOW)
        by_device = sorted((one.device_id, one.outcome.value, one.reason) for one in receipts)
        assert [one.device_id for one in receipts] == ["d", "e", "d", "f"]
        assert sum(one.outcome is Outcome.SENT for one in receipts) == 2, by_device
        assert receipts[2] == Receipt("d", Outcome.SENT, "SENT")
        assert receipts[3] == Receipt("f", Outcome.REFUSED, "NO_CONSENT")
        sent = sorted(wechat.messages, key=lambda message: str(message["template_id"]))
        assert sent == [
            {
                "touser": "o1",
                "template_id": "template-1",
                "miniprogram_state": "formal",
                "lang": "zh_CN",
                "data": {
                    "thing1": {"value": "您有一条新的办件进度消息，请打开小程序…"},
                    "time2": {"value": "2026年11月22日 12:00"},
                },
                "page": "pages/message/index?message=m%201",
            },
            {
                "touser": "o1",
                "template_id": "template-2",
                "miniprogram_state": "formal",
                "lang": "zh_CN",
                "data": {"thing1": {"value": "3 路公交车即将到站"}},
            },
        ]
        assert [await grants.get_left("o1", each) for each in ("template-1", "template-2")] == [0, 0]

    with_channel(redis_url, mongodb_uri, database_name, work)


def test_every_error_code_is_judged_by_the_table(
    redis_url: str, mongodb_uri: str, database_name: str
) -> None:
    async def work(wechat: Wechat, channel: WechatChannel, grants: WechatGrantStore) -> None:
        for code, verdict in VERDICTS.items():
            openid = f"o{code}"
            await allow(wechat, grants, openid, "template-1")
            wechat.script = [code, code] if code in {40001, 40014, 42001} else [code]
            [receipt] = await channel.send([push(openid)], now=NOW)
            assert receipt == Receipt("d", verdict.outcome, str(code), verdict.wait_s)
            assert await grants.get_left(openid, "template-1") == (0 if verdict.clears else 1)
        assert wechat.messages == []
        wechat.script = [99999]
        [receipt] = await channel.send([push("o-1")], now=NOW)
        assert receipt == Receipt("d", Outcome.RETRY, "99999", 300)

    with_channel(redis_url, mongodb_uri, database_name, work)


def test_the_codes_that_the_contract_names() -> None:
    assert VERDICTS[40003].outcome is Outcome.DEAD_TOKEN
    assert {code for code, verdict in VERDICTS.items() if verdict.outcome is Outcome.REFUSED} == {
        43101,
        20003,
        40037,
        41030,
        45168,
        47003,
    }
    assert {code for code, verdict in VERDICTS.items() if verdict.clears} == {40003, 43101}
    assert VERDICTS[45009] == msgspec.structs.replace(VERDICTS[45011], wait_s=3600)


@pytest.mark.parametrize("fault", Fault)
def test_a_lost_answer_costs_the_consent(
    redis_url: str, mongodb_uri: str, database_name: str, fault: Fault
) -> None:
    async def work(wechat: Wechat, channel: WechatChannel, grants: WechatGrantStore) -> None:
        await allow(wechat, grants, "o1", "template-1")
        wechat.script = [fault]
        [receipt] = await channel.send([push()], now=NOW)
        assert receipt == Receipt("d", Outcome.RETRY, "ANSWER_LOST")
        # Sent again, it is not sent twice.
        [receipt] = await channel.send([push()], now=NOW)
        assert receipt == Receipt("d", Outcome.REFUSED, "NO_CONSENT")
        assert len(wechat.messages) == (1 if fault is Fault.RESET_AFTER else 0)

    with_channel(redis_url, mongodb_uri, database_name, work)


def test_what_was_provably_not_sent_keeps_its_consent(
    redis_url: str, mongodb_uri: str, database_name: str
) -> None:
    async def main() -> None:
        async with open_redis(redis_url, 5000) as redis, open_mongodb(mongodb_uri, 20_000) as mongodb:
            await redis.delete(f"mintong:wechat:token:{APP_ID}")
            grants = WechatGrantStore(mongodb[database_name])
            await grants.grant("o1", "a", ["template-1"], key="k", now=NOW)
            config = WechatConfig(APP_ID, SECRET, endpoint="http://127.0.0.1:1")
            async with open_wechat(config, redis) as client:
                channel = WechatChannel(client, grants, TEMPLATES)
                assert await channel.send([push()], now=NOW) == [Receipt("d", Outcome.RETRY, "NOT_SENT")]
            assert await grants.get_left("o1", "template-1") == 1

    asyncio.run(main())


def test_what_cannot_be_sent_costs_nothing(redis_url: str, mongodb_uri: str, database_name: str) -> None:
    async def work(wechat: Wechat, channel: WechatChannel, grants: WechatGrantStore) -> None:
        await allow(wechat, grants, "o1", "template-1", "template-9")
        late = push(expires_at=NOW)
        assert await channel.send([late], now=NOW) == [Receipt("d", Outcome.REFUSED, "EXPIRED")]
        broken = push(data={"kind": "BROKEN"})
        assert await channel.send([broken], now=NOW) == [Receipt("d", Outcome.REFUSED, "40037")]
        without = WechatChannel(channel._client, grants, {})
        assert await without.send([push()], now=NOW) == [Receipt("d", Outcome.REFUSED, "NO_TEMPLATE")]
        assert [await grants.get_left("o1", each) for each in ("template-1", "template-9")] == [1, 1]
        assert wechat.messages == []

    with_channel(redis_url, mongodb_uri, database_name, work)


def test_an_openid_that_is_gone_is_a_dead_token(redis_url: str, mongodb_uri: str, database_name: str) -> None:
    async def work(wechat: Wechat, channel: WechatChannel, grants: WechatGrantStore) -> None:
        await allow(wechat, grants, "o1", "template-1")
        wechat.unknown_openids.add("o1")
        assert await channel.send([push()], now=NOW) == [Receipt("d", Outcome.DEAD_TOKEN, "40003")]
        assert await grants.get_left("o1", "template-1") == 0

    with_channel(redis_url, mongodb_uri, database_name, work)


@given(kind=st.sampled_from([*KEYWORD_CHARS, "other"]), number=st.integers(1, 99), text=st.text(max_size=80))
def test_a_keyword_is_never_empty_nor_too_long(kind: str, number: int, text: str) -> None:
    cut = fit(f"{kind}{number}", text)
    assert 1 <= len(cut) <= KEYWORD_CHARS.get(kind, 20)
    if len(" ".join(text.split())) <= KEYWORD_CHARS.get(kind, 20):
        assert cut == (" ".join(text.split()) or "-")
