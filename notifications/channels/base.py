"""What every way out has in common: a push, its receipt, a channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from domain.message_texts import Language


class Push(Struct, frozen=True):
    """One message for one device; `title` and `body` are the public text, without personal data.

    `token` is what the channel addresses: an FCM registration token, a WeChat openid, for text messages an
    account, whose phone number only the channel reads. A phone
    shows one of several pushes with the same `collapse_key`. `expires_at` is UTC; None: the provider's
    longest time. `urgent` wakes a sleeping phone. `language` is that of the texts.
    """

    device_id: str
    token: str
    title: str
    body: str
    data: Mapping[str, str]
    collapse_key: str
    expires_at: datetime | None
    urgent: bool
    language: Language = Language.ZH


class Outcome(StrEnum):
    """What became of one push."""

    SENT = "SENT"
    """The provider took it."""
    DEAD_TOKEN = "DEAD_TOKEN"  # noqa: S105 - the name of an outcome
    """The provider knows the token no more: remove it."""
    RETRY = "RETRY"
    """Not now; the same push may succeed later."""
    REFUSED = "REFUSED"
    """Never in this form; sending it again does not help."""
    LEFT_OUT = "LEFT_OUT"
    """Not sent, as a rule of ours asks: nothing has failed."""


class Receipt(Struct, frozen=True):
    """What the provider answered to one push; `reason` is a stable word of the channel's decision table.

    `retry_after_s` is the provider's own wish, in seconds. `provider_id` names the message at the provider.
    """

    device_id: str
    outcome: Outcome
    reason: str
    retry_after_s: float | None = None
    provider_id: str | None = None


class Channel(Protocol):
    """A way to devices. `max_batch` is the most pushes that one call takes."""

    @property
    def name(self) -> str:
        """Name the channel as deliveries store it."""

    @property
    def max_batch(self) -> int:
        """Give the most pushes of one call."""

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        """Send pushes and give a receipt for each, in their order; failures are receipts, never raised."""
