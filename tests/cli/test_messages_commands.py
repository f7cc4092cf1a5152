"""Messages from the command line: status, dead letters, pausing, with refusals in words."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from cli.main import app
from domain.message_texts import AirLevel, AirQuality
from domain.messages import MessageNotFoundError
from notifications.outbox import Outbox
from notifications.queue import JobQueue
from operations.messages import broadcast
from store.connections import open_mongodb
from store.deliveries import DeadLetter, DeliveryStore
from store.messages import MessageStore

NOW = datetime.now(UTC)


def test_commands(
    mongodb_uri: str, redis_url: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("MONGODB_URI", mongodb_uri),
        ("REDIS_URL", redis_url),
        ("MINTONG_DATABASE", database_name),
    ):
        monkeypatch.setenv(name, value)

    async def prepare() -> str:
        queue = JobQueue(redis_url, prefix=f"{database_name}:jobs")
        async with open_mongodb(mongodb_uri, 20_000) as client:
            database = client[database_name]
            letter = DeadLetter("m:fcm:d", "m:fcm:0.0", "m", "fcm", "d", "INVALID_ARGUMENT", 1, NOW)
            await DeliveryStore(database).bury([letter])
            air = AirQuality("p", "福州", 60, AirLevel.GOOD)
            message = await broadcast(
                Outbox(MessageStore(database), queue), ["stop:1"], air, "k", now=datetime.now(UTC)
            )
        await queue.aclose()
        return message.id

    message_id = asyncio.run(prepare())
    runner = CliRunner()

    def run(*arguments: str) -> str:
        result = runner.invoke(app, ["messages", *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    assert "Dead letters" in run("status")
    assert "INVALID_ARGUMENT" in run("dead")
    assert "SENDING" in run("status", message_id)
    run("pause", message_id)
    assert "PAUSED" in run("status", message_id)
    run("resume", message_id)
    run("cancel", message_id)
    assert "CANCELLED" in run("status", message_id)
    run("replay")
    assert "INVALID_ARGUMENT" not in run("dead")
    assert "0 rows of inboxes and 0 preferences" in run("upgrade")
    with pytest.raises(MessageNotFoundError):
        runner.invoke(app, ["messages", "status", "nope"], catch_exceptions=False)
