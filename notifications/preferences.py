"""Preferences on the way out: each push goes now, later, into a digest, or not at all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from domain.devices import PushChannel, Target
from domain.message_texts import DigestNotice
from domain.messages import DROP, SEND, Message, Verdict, VerdictKind
from domain.preferences import (
    BY_DEFAULT,
    Decision,
    MessageKind,
    NotificationWay,
    Plan,
    Preferences,
    decide,
    decide_notice,
)
from store.digests import Counted, DigestStore
from store.preferences import PreferenceStore

_WAY_OF_CHANNEL: Final = {
    PushChannel.FCM.value: NotificationWay.PUSH,
    PushChannel.WECHAT.value: NotificationWay.WECHAT,
    PushChannel.SMS.value: NotificationWay.SMS,
}
_NOBODY: Final = Preferences()
_COUNT_AGAIN_S: Final = 5.0


class ByPreferences:
    """Gives the verdict on each push that its citizen's preferences ask for.

    What is counted in a digest is written down first and its push dropped; a repetition counts it once.
    """

    def __init__(self, preferences: PreferenceStore, digests: DigestStore) -> None:
        self._preferences = preferences
        self._digests = digests
        self._is_empty = True
        self._counted_at = float("-inf")

    async def __call__(
        self, message: Message, channel: str, devices: Sequence[Target], *, now: datetime
    ) -> Sequence[Verdict]:
        """Give a verdict for each device, in their order."""
        way = _WAY_OF_CHANNEL.get(channel, NotificationWay.PUSH)
        accounts = dict.fromkeys(device.account_id for device in devices)
        wanted = await self._of_accounts(list(accounts), way)
        common = _decide(message, way, _NOBODY, now)
        decisions = {
            account: _decide(message, way, wanted[account], now) if account in wanted else common
            for account in accounts
        }
        counted = [
            Counted(account, message.id, way, decision.at)
            for account, decision in decisions.items()
            if decision.plan is Plan.DIGEST and decision.at is not None
        ]
        if counted:
            await self._digests.add(counted)
        return [_verdict(decisions[device.account_id]) for device in devices]

    async def _of_accounts(self, accounts: list[str], way: NotificationWay) -> dict[str, Preferences]:
        # Whoever is reached by a way that needs consent has preferences.
        if len(accounts) > 1 and way in BY_DEFAULT and await self._nobody_has_any():
            return {}
        return await self._preferences.list_for_accounts(accounts)

    async def _nobody_has_any(self) -> bool:
        """Spare a young installation's broadcasts asking for what nobody has, for some seconds at most."""
        if self._is_empty and time.monotonic() - self._counted_at > _COUNT_AGAIN_S:
            self._is_empty = await self._preferences.estimate() == 0
            self._counted_at = time.monotonic()
        return self._is_empty


def _decide(message: Message, way: NotificationWay, preferences: Preferences, now: datetime) -> Decision:
    payload = message.payload
    if isinstance(payload, DigestNotice):
        ways = frozenset(NotificationWay(each) for each in payload.ways)
        return decide_notice(ways, preferences=preferences, now=now)[way]
    return decide(MessageKind(message.kind), urgent=message.urgent, preferences=preferences, now=now)[way]


def _verdict(decision: Decision) -> Verdict:
    if decision.plan is Plan.SEND:
        return SEND
    if decision.plan is Plan.HOLD:
        return Verdict(VerdictKind.HOLD, decision.at)
    return DROP
