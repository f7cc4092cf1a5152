"""messageReceived over a real WebSocket: the house's own schema, the real pipeline, real engines."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from messages_world import AIR, PROGRESS, MessagesWorld, open_messages_world
from websocket_harness import Client, Sessions, client

from api.app import Application, create_app
from api.server import uvicorn_config
from domain.ids import raw_id_of
from notifications.live import publish_to, session_ended_topic
from operations.messages import broadcast, send_message
from settings import Settings
from store.connections import open_redis

FOLLOW = """subscription ($after: String) { messageReceived(after: $after) {
  cursor message { id kind title body readAt references { name id } } } }"""


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, Application, Sessions]]:
    """Serve the house's schema with its own resources, in a thread; tokens name their account."""
    app, sessions = create_app(settings), Sessions()
    app._websocket.authenticate = sessions.authenticate
    config = uvicorn_config(settings)
    config.app, config.factory = app, False
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while not (server.started and app._hub is not None and app._hub.is_connected):
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/graphql", app, sessions
        finally:
            server.should_exit = True
            thread.join(30)


async def received(follower: Client, count: int) -> list[dict[str, Any]]:
    """Give the next messages."""
    events = []
    for _ in range(count):
        frame = await follower.receive()
        assert frame["type"] == "next", frame
        assert "errors" not in frame["payload"], frame
        events.append(frame["payload"]["data"]["messageReceived"])
    return events


async def follow(follower: Client, account: str, after: str | None = None, language: str = "zh") -> None:
    acknowledged = await follower.init(authorization=f"Bearer {account}", acceptLanguage=language)
    assert acknowledged["type"] == "connection_ack"
    await follower.subscribe(FOLLOW, variables={"after": after})


async def listened(app: Application, accounts: int) -> None:
    """Wait until so many topics of accounts are listened to."""
    async with asyncio.timeout(10):
        while True:
            topics = [] if app._hub is None else list(app._hub._topics)
            if sum(topic.startswith("account:") for topic in topics) == accounts:
                return
            await asyncio.sleep(0.01)


class Senders:
    """Tells accounts things through the real pipeline."""

    def __init__(self, world: MessagesWorld) -> None:
        self.world = world
        self.count = 0

    async def private(self, account: str) -> str:
        self.count += 1
        self.world.now = now = datetime.now(UTC)
        message = await send_message(self.world.messages.outbox, account, PROGRESS, f"p{self.count}", now=now)
        await self.world.worker.fan_out.run([message.id])
        return message.id

    async def public(self, topic: str) -> str:
        self.count += 1
        self.world.now = now = datetime.now(UTC)
        message = await broadcast(self.world.messages.outbox, [topic], AIR, f"b{self.count}", now=now)
        await self.world.worker.fan_out.run([message.id])
        return message.id


def raw(event: dict[str, Any]) -> str:
    return raw_id_of("Message", event["message"]["id"])


def house_settings(home: Path, mongodb_uri: str, redis_url: str, database: str) -> Settings:
    return Settings.model_validate(
        {
            "home": home,
            "mongodb_uri": mongodb_uri,
            "redis_url": redis_url,
            "database": database,
            "log_sample": 0.0,
            "drain_s": 0,
            "engine_timeout_ms": 20_000,
        }
    )


def test_nothing_is_missed_between_two_connections(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def main(url: str, app: Application) -> None:
        async with open_messages_world(mongodb_uri, redis_url, database_name) as world:
            send = Senders(world)
            await world.messages.subscriptions.subscribe("ann", "station:1")
            async with client(url, init=False) as follower:
                await follow(follower, "ann")
                await listened(app, 1)
                first = await send.private("ann")
                await send.private("bob")  # is nobody else's business
                second = await send.public("station:1")
                events = await received(follower, 2)
                assert [raw(event) for event in events] == [first, second]
                assert events[0]["message"] == {
                    "id": events[0]["message"]["id"],
                    "kind": "APPLICATION_PROGRESS",
                    "title": "办件进度",
                    "body": "您办理的“社会保障卡申领”已受理。",
                    "readAt": None,
                    "references": [{"name": "application", "id": "a1"}],
                }
                cursor = events[-1]["cursor"]
            await listened(app, 0)
            away = [await send.private("ann"), await send.public("station:1"), await send.private("ann")]
            async with client(url, init=False) as follower:
                await follow(follower, "ann", cursor, "en")
                # The two minutes before the cursor come again; the client tells them apart by their ids.
                events = await received(follower, 5)
                assert [raw(event) for event in events] == [first, second, *away]
                assert events[2]["message"]["title"] == "Application update"
                live = await send.private("ann")
                assert [raw(event) for event in await received(follower, 1)] == [live]
            async with client(url, init=False) as follower:
                await follow(follower, "ann", "bm9uc2Vuc2U6eA")
                refused = await follower.receive()
                assert refused["type"] == "error"
                assert refused["payload"][0]["extensions"]["code"] == "INVALID_ID"

    settings = house_settings(tmp_path, mongodb_uri, redis_url, database_name)
    with serving(settings) as (url, app, _):
        asyncio.run(main(url, app))


def test_a_broadcast_is_executed_once_for_all_and_a_private_message_for_its_owner(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def main(url: str, app: Application) -> None:
        async with open_messages_world(mongodb_uri, redis_url, database_name) as world:
            send = Senders(world)
            accounts = [f"citizen{number}" for number in range(6)]
            await world.messages.subscriptions.load("station:1", accounts)
            executed = app._websocket.payloads.executed
            async with asyncio.TaskGroup() as group:
                ready = asyncio.Barrier(len(accounts) + 1)

                async def citizen(account: str) -> None:
                    async with client(url, init=False) as follower:
                        await follow(follower, account)
                        await ready.wait()
                        events = await received(follower, 2)
                        assert [event["message"]["kind"] for event in events] == [
                            "AIR_QUALITY",
                            "APPLICATION_PROGRESS",
                        ]

                for account in accounts:
                    group.create_task(citizen(account))
                await ready.wait()
                await listened(app, len(accounts))
                await send.public("station:1")
                for account in accounts:
                    await send.private(account)
            assert app._websocket.payloads.executed - executed == 1

    settings = house_settings(tmp_path, mongodb_uri, redis_url, database_name)
    with serving(settings) as (url, app, _):
        asyncio.run(main(url, app))


def test_a_revoked_session_hears_no_more(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def main(url: str, app: Application, sessions: Sessions) -> None:
        async with client(url, init=False) as follower, client(url, init=False) as stranger:
            await follow(follower, "ann")
            await stranger.init()
            await stranger.subscribe(FOLLOW)
            refused = await stranger.receive()
            assert refused["type"] == "error"
            assert refused["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"
            await listened(app, 1)
            sessions.revoked.add("ann")
            redis = open_redis(redis_url, 5_000)
            try:
                await publish_to(redis, [session_ended_topic("s-ann")], b"")
            finally:
                await redis.aclose()
            assert (await follower.closed())[0] == 4440
            await listened(app, 0)

    settings = house_settings(tmp_path, mongodb_uri, redis_url, database_name)
    with serving(settings) as (url, app, sessions):
        asyncio.run(main(url, app, sessions))
