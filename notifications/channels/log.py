"""Where pushes go that must not reach a phone: the log, outside of production."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime

import structlog

from notifications.channels.base import Channel, Outcome, Push, Receipt

_log = structlog.get_logger()


class LogChannel:
    """Writes a line for each kind of message in a call instead of sending anything.

    The line shows the public text, which has no personal data, and no token.
    """

    max_batch = 500

    def __init__(self, name: str) -> None:
        self.name = name

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        """Log pushes and give a receipt for each, in their order."""
        for (key, title, body), count in Counter((p.collapse_key, p.title, p.body) for p in pushes).items():
            _log.info("push_logged", channel=self.name, message=key, title=title, body=body, devices=count)
        return [Receipt(push.device_id, Outcome.SENT, "LOGGED") for push in pushes]


class AllowListChannel:
    """Sends to the devices on a list, logs what is for all others."""

    def __init__(self, channel: Channel, allowed: Collection[str]) -> None:
        self.name = channel.name
        self.max_batch = channel.max_batch
        self._channel = channel
        self._log = LogChannel(channel.name)
        self._allowed = frozenset(allowed)

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        """Send or log pushes and give a receipt for each, in their order."""
        allowed = [push for push in pushes if push.device_id in self._allowed]
        others = [push for push in pushes if push.device_id not in self._allowed]
        sent, logged = await asyncio.gather(
            self._channel.send(allowed, now=now), self._log.send(others, now=now)
        )
        ways = {True: iter(sent), False: iter(logged)}
        return [next(ways[push.device_id in self._allowed]) for push in pushes]


def route(
    name: str, channel: Channel | None, *, production: bool, allowed: Collection[str] = ()
) -> Channel | None:
    """Choose what stands for a channel; `channel` is None where its provider is not configured.

    In production the channel itself, or None. Elsewhere the log, but for the ids of devices that are allowed.
    """
    if production:
        return channel
    return LogChannel(name) if channel is None else AllowListChannel(channel, allowed)
