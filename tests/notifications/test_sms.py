"""Text messages: an inbox for development only, a gateway that is asked once."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from sms_gateway import open_gateway

from notifications.channels.sms import (
    INBOX_LIFE,
    INBOX_SIZE,
    DevelopmentSms,
    SmsError,
    SmsGatewayConfig,
    code_text,
    open_sms,
)
from store.connections import open_redis

_KEY = "mintong:development:sms"


def test_the_development_inbox_keeps_the_last_messages_for_a_while(redis_url: str) -> None:
    async def main() -> None:
        lines: list[str] = []
        async with open_redis(redis_url, 5000) as redis:
            await redis.delete(_KEY)
            sms = DevelopmentSms(redis, production=False, write=lines.append)
            assert await sms.list_sent() == []
            for number in range(INBOX_SIZE + 5):
                await sms.send("13800000000", f"text {number}", "zh", "k")
            await sms.send_code("13900000000", "123456", "zh")
            await sms.send_code("13900000000", "654321", "en")
            sent = await sms.list_sent()
            assert len(sent) == INBOX_SIZE == await redis.llen(_KEY)
            assert [(one.phone, one.code) for one in sent[:2]] == [
                ("13900000000", "654321"),
                ("13900000000", "123456"),
            ]
            assert [one.text for one in sent[:3]] == [
                code_text("654321", "en"),
                code_text("123456", "zh"),
                f"text {INBOX_SIZE + 4}",
            ]
            assert 0 < await redis.ttl(_KEY) <= INBOX_LIFE.total_seconds()
            assert len(lines) == INBOX_SIZE + 7
            assert lines[-2] == f"SMS to 13900000000: {code_text('123456', 'zh')}\n"

    asyncio.run(main())


def test_the_code_is_in_the_text_of_either_language() -> None:
    assert "123456" in code_text("123456", "zh")
    assert "123456" in code_text("123456", "en")
    assert code_text("123456", "zh") != code_text("123456", "en")


def test_production_needs_a_gateway(redis_url: str) -> None:
    async def main() -> None:
        async with open_redis(redis_url, 5000) as redis:
            with pytest.raises(ValueError, match="never in production"):
                DevelopmentSms(redis, production=True)
            with pytest.raises(ValueError, match="never in production"):
                async with open_sms(None, redis, production=True):
                    raise AssertionError("opened")

    asyncio.run(main())


def test_without_redis_nobody_is_told_that_a_code_was_sent() -> None:
    async def main() -> None:
        async with open_redis("redis://127.0.0.1:1", 200) as redis:
            sms = DevelopmentSms(redis, production=False, write=lambda _: None)
            with pytest.raises(SmsError):
                await sms.send_code("13800000000", "123456", "zh")

    asyncio.run(main())


def test_a_gateway_gets_code_and_text(redis_url: str) -> None:
    async def main(redis: Redis) -> None:
        async with (
            open_gateway() as gateway,
            open_sms(SmsGatewayConfig(gateway.url, "key"), redis, production=True) as sms,
        ):
            await sms.send_code("13800000000", "123456", "en")
            await sms.send("13800000000", "您好", "zh", "k1")
        assert [each.body for each in gateway.asked] == [
            {
                "phone": "13800000000",
                "text": code_text("123456", "en"),
                "kind": "code",
                "language": "en",
                "code": "123456",
            },
            {"phone": "13800000000", "text": "您好", "kind": "text", "language": "zh", "code": None},
        ]
        assert {each.authorization for each in gateway.asked} == {"Bearer key"}
        assert [each.key for each in gateway.asked] == [None, "k1"]

    async def with_redis() -> None:
        async with open_redis(redis_url, 5000) as redis:
            await main(redis)

    asyncio.run(with_redis())


@pytest.mark.parametrize("status", ["500 Internal Server Error", "403 Forbidden", ""])
def test_a_gateway_that_fails_is_asked_once_and_its_error_shows_no_code(status: str, redis_url: str) -> None:
    async def main() -> None:
        async with open_redis(redis_url, 5000) as redis, open_gateway(status) as gateway:
            async with open_sms(SmsGatewayConfig(gateway.url, "key"), redis, production=True) as sms:
                with pytest.raises(SmsError) as caught:
                    await sms.send_code("13800000000", "123456", "zh")
            assert len(gateway.asked) == 1
            assert "123456" not in str(caught.value)
            assert caught.value.__cause__ is None

    asyncio.run(main())
