"""Outside of production only devices on the list are reached."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from structlog.testing import capture_logs

from notifications.channels.base import Outcome, Push, Receipt
from notifications.channels.log import LogChannel, route

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)


class Recording:
    """A channel of the test's own."""

    name = "fcm"
    max_batch = 500

    def __init__(self) -> None:
        self.pushed: list[str] = []

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        self.pushed += [push.device_id for push in pushes]
        return [Receipt(push.device_id, Outcome.SENT, "SENT") for push in pushes]


def push(device_id: str) -> Push:
    return Push(device_id, f"token-{device_id}", "标题", "正文", {}, "m1", None, False)


def test_in_production_a_channel_is_itself_or_missing() -> None:
    channel = Recording()
    assert route("fcm", channel, production=True, allowed={"d1"}) is channel
    assert route("fcm", None, production=True) is None


def test_elsewhere_only_devices_on_the_list_are_reached() -> None:
    channel = Recording()
    routed = route("fcm", channel, production=False, allowed={"d2", "d4"})
    assert routed is not None
    assert (routed.name, routed.max_batch) == ("fcm", 500)
    structlog.reset_defaults()
    with capture_logs() as lines:
        receipts = asyncio.run(routed.send([push(f"d{number}") for number in range(1, 5)], now=NOW))
    assert receipts == [
        Receipt("d1", Outcome.SENT, "LOGGED"),
        Receipt("d2", Outcome.SENT, "SENT"),
        Receipt("d3", Outcome.SENT, "LOGGED"),
        Receipt("d4", Outcome.SENT, "SENT"),
    ]
    assert channel.pushed == ["d2", "d4"]
    assert lines == [
        {
            "event": "push_logged",
            "log_level": "info",
            "channel": "fcm",
            "message": "m1",
            "title": "标题",
            "body": "正文",
            "devices": 2,
        }
    ]


def test_a_provider_that_is_not_configured_is_logged() -> None:
    routed = route("wechat", None, production=False, allowed={"d1"})
    assert isinstance(routed, LogChannel)
    assert routed.name == "wechat"
    assert asyncio.run(routed.send([push("d1")], now=NOW)) == [Receipt("d1", Outcome.SENT, "LOGGED")]
