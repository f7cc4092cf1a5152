"""Pushes per second of the FCM channel against a bare loop over `send_each_async`, in one run.

    python -m bench.fcm [--rounds N] [--batches N]

Both send the same messages, 500 a call, to the same local server in a process of its own; the rounds
alternate. The bare loop uses the library as it comes, with only its address changed. The share of the median
rounds must be at least 0.8.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import firebase_admin
import uvloop
from firebase_admin import messaging
from firebase_admin.credentials import Base
from google.auth.credentials import AnonymousCredentials

from notifications.channels.base import Outcome, Push
from notifications.channels.fcm import MAX_BATCH, FcmChannel, FcmConfig, open_fcm
from tests.notifications.fcm_server import running_fcm_server

NOW = datetime(2026, 11, 22, tzinfo=UTC)
WANTED = 0.8
PROJECT = "mintong-test"
DATA = {"message": "01JD9Z3V7Q8S5B2M4N6P8R0T1W", "kind": "AIR_QUALITY"}


class Anonymous(Base):
    """No credentials: the local server asks for none."""

    def get_credential(self) -> AnonymousCredentials:
        return AnonymousCredentials()


def pushes(round_: int, batch: int) -> list[Push]:
    return [
        Push(
            f"device-{number}",
            f"token-{batch}-{number}",
            "空气质量提醒",
            "福州市今天的空气质量为轻度污染，请减少户外活动。",
            DATA,
            f"air-{round_}",
            NOW + timedelta(hours=6),
            False,
        )
        for number in range(MAX_BATCH)
    ]


def bare_messages(batch: Sequence[Push]) -> list[messaging.Message]:
    messages = []
    for push in batch:
        message = messaging.Message(
            data=dict(push.data),
            notification=messaging.Notification(push.title, push.body),
            android=messaging.AndroidConfig(
                priority="normal",
                ttl=timedelta(hours=6),
                notification=messaging.AndroidNotification(tag=push.collapse_key),
            ),
            apns=messaging.APNSConfig(headers={"apns-collapse-id": push.collapse_key}),
        )
        message.token = push.token
        messages.append(message)
    return messages


async def bare(app: firebase_admin.App, batches: list[list[Push]]) -> float:
    started = time.perf_counter()
    for batch in batches:
        answer = await messaging.send_each_async(bare_messages(batch), app=app)
        if answer.success_count != len(batch):
            raise SystemExit(f"the bare loop failed: {answer.responses[0].exception}")
    return len(batches) * MAX_BATCH / (time.perf_counter() - started)


async def channel(fcm: FcmChannel, batches: list[list[Push]]) -> float:
    started = time.perf_counter()
    for batch in batches:
        receipts = await fcm.send(batch, now=NOW)
        if any(one.outcome is not Outcome.SENT for one in receipts):
            raise SystemExit(f"the channel failed: {receipts[0]}")
    return len(batches) * MAX_BATCH / (time.perf_counter() - started)


async def compare(url: str, rounds: int, size: int) -> tuple[list[float], list[float]]:
    app = firebase_admin.initialize_app(Anonymous(), {"projectId": PROJECT}, name="bare")
    service = messaging._get_messaging_service(app)
    service._fcm_url = f"{url}/v1/projects/{PROJECT}/messages:send"
    bare_rates, channel_rates = [], []
    async with open_fcm(FcmConfig(PROJECT, endpoint=url)) as fcm:
        for round_ in range(rounds + 1):
            batches = [pushes(round_, batch) for batch in range(size)]
            runs = [bare(app, batches), channel(fcm, batches)]
            rates = [0.0, 0.0]
            for index in (0, 1) if round_ % 2 else (1, 0):
                rates[index] = await runs[index]
            if round_:  # the first one opens the connections
                bare_rates.append(rates[0])
                channel_rates.append(rates[1])
    await service._async_client.aclose()
    return bare_rates, channel_rates


def main() -> int:
    """Compare and print; 1 when the channel is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=4, help="calls of 500 pushes a round")
    options = parser.parse_args()
    with running_fcm_server(project=PROJECT) as server:
        bare_rates, channel_rates = uvloop.run(compare(server.url, options.rounds, options.batches))
        stats = server.stats()
    expected = (options.rounds + 1) * options.batches * MAX_BATCH * 2
    if stats["effects"] != expected:
        print(f"FAIL: {stats['effects']:,} effects instead of {expected:,}")
        return 1
    share = statistics.median(channel_rates) / statistics.median(bare_rates)
    for name, rates in (("send_each_async, bare", bare_rates), ("the channel", channel_rates)):
        print(f"{name:<24}{statistics.median(rates):>8,.0f}/s  ({min(rates):,.0f} to {max(rates):,.0f})")
    verdict = "ok" if share >= WANTED else "FAIL"
    print(f"{verdict}: share {share:.2f} (at least {WANTED}); {expected:,} effects, as many as were sent")
    return 0 if share >= WANTED else 1


if __name__ == "__main__":
    raise SystemExit(main())
