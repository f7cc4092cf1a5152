"""Messages as text messages: the public text, to the phone of the account, some a day at most."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from pymongo.errors import PyMongoError

from domain.errors import UpstreamFailure
from domain.message_texts import Language
from domain.preferences import SHANGHAI
from notifications.channels.base import Outcome, Push, Receipt
from notifications.channels.sms import SmsChannel, SmsError
from store.accounts import AccountStore
from store.sms_days import SmsDayStore

_MAX_IN_FLIGHT: Final = 20

_log = structlog.get_logger()


class SmsMessageChannel:
    """Sends pushes whose token is an account to the phone with which that account signs in.

    The number is read and decrypted here and goes nowhere but to `sms`. `daily` messages reach an account on
    a day of Asia/Shanghai; urgent ones always do, and do not count.
    """

    name = "sms"
    max_batch = 100

    def __init__(self, sms: SmsChannel, accounts: AccountStore, days: SmsDayStore, *, daily: int) -> None:
        self._sms = sms
        self._accounts = accounts
        self._days = days
        self._daily = daily
        self._slots = asyncio.Semaphore(_MAX_IN_FLIGHT)

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        """Send pushes and give a receipt for each, in their order; failures are receipts, never raised."""
        try:
            phones = await self._accounts.list_phones({push.token for push in pushes})
        except PyMongoError as error:
            _log.warning("sms_store_away", error=type(error).__name__)
            return [Receipt(push.device_id, Outcome.RETRY, "NOT_SENT") for push in pushes]
        return list(await asyncio.gather(*(self._in_turn(push, phones, now) for push in pushes)))

    async def _in_turn(self, push: Push, phones: dict[str, str], now: datetime) -> Receipt:
        async with self._slots:
            return await self._send(push, phones.get(push.token), now)

    async def _send(self, push: Push, phone: str | None, now: datetime) -> Receipt:
        if push.expires_at is not None and push.expires_at <= now:
            return Receipt(push.device_id, Outcome.REFUSED, "EXPIRED")
        if phone is None:
            return Receipt(push.device_id, Outcome.DEAD_TOKEN, "NO_PHONE")
        try:
            if not push.urgent and not await self._is_within_day(push, now):
                return Receipt(push.device_id, Outcome.LEFT_OUT, "DAILY_LIMIT")
            await self._sms.send(phone, sms_text(push), push.language.value, _key(push))
        except PyMongoError:  # only counting asks the store: nothing has gone out
            return Receipt(push.device_id, Outcome.RETRY, "NOT_SENT")
        except SmsError as error:
            return _judge(push, error)
        return Receipt(push.device_id, Outcome.SENT, "SENT")

    async def _is_within_day(self, push: Push, now: datetime) -> bool:
        day, message = now.astimezone(SHANGHAI).date(), push.data.get("message", push.collapse_key)
        return await self._days.take(push.token, message, day, self._daily, now=now)


def sms_text(push: Push) -> str:
    """Word a text message: signed, as the networks ask, and with nothing but the public text."""
    if push.language is Language.EN:
        return f"[Mintong] {push.title}: {push.body}"
    return f"【闽政通】{push.title}：{push.body}"


def _key(push: Push) -> str:
    """Name one message to one phone, the same at every try; the gateway learns no id of ours by it."""
    name = f"{push.data.get('message', push.collapse_key)}:{push.token}"
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _judge(push: Push, error: SmsError) -> Receipt:
    if error.is_alarming:
        _log.error("sms_configuration", reason=error.reason)
    outcome = Outcome.REFUSED if error.failure is UpstreamFailure.PERMANENT else Outcome.RETRY
    return Receipt(push.device_id, outcome, error.reason, error.retry_after_s)
