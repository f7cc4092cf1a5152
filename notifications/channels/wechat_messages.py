"""Subscribe messages: one message for each one-time consent, in the words of a template."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec
import structlog
from msgspec import Struct

from notifications.channels.base import Outcome, Push, Receipt
from notifications.channels.wechat import WechatClient, WechatRefusedError, WechatUnavailableError
from store.wechat_grants import WechatGrantStore

_MAX_IN_FLIGHT = 20

_log = structlog.get_logger()

# What WeChat takes in a keyword of each kind, in characters.
KEYWORD_CHARS: Final[Mapping[str, int]] = {
    "thing": 20,
    "short_thing": 5,
    "character_string": 32,
    "number": 32,
    "letter": 32,
    "symbol": 5,
    "time": 40,
    "date": 40,
    "amount": 20,
    "phone_number": 17,
    "car_number": 8,
    "name": 20,
    "phrase": 5,
    "const": 20,
}
_KEYWORD = re.compile(r"([a-z_]+?)\d{1,2}")


class Verdict(Struct, frozen=True):
    """What to do about an error code; `wait_s` in seconds."""

    outcome: Outcome
    wait_s: float | None = None
    clears: bool = False
    """WeChat has no consent of this person: whatever we had counted is wrong."""
    alarming: bool = False
    """Somebody must repair the configuration."""


# WeChat took no message in any of these cases.
VERDICTS: Final[Mapping[int, Verdict]] = {
    40003: Verdict(Outcome.DEAD_TOKEN, clears=True),  # no such openid here
    43101: Verdict(Outcome.REFUSED, clears=True),  # the citizen refused, or no consent is left
    43108: Verdict(Outcome.RETRY, wait_s=1),  # another message to the same person at the same moment
    45009: Verdict(Outcome.RETRY, wait_s=3600),  # the day's calls are used up
    45011: Verdict(Outcome.RETRY, wait_s=60),  # too many calls this minute
    -1: Verdict(Outcome.RETRY),  # busy
    20003: Verdict(Outcome.REFUSED, alarming=True),  # bad keywords
    40037: Verdict(Outcome.REFUSED, alarming=True),  # no such template
    41030: Verdict(Outcome.REFUSED, alarming=True),  # no such page
    45168: Verdict(Outcome.REFUSED),  # words that WeChat does not let through
    47003: Verdict(Outcome.REFUSED, alarming=True),  # a keyword is missing or has a wrong form
    40001: Verdict(Outcome.RETRY, wait_s=60, alarming=True),  # token refused, a fresh one too
    40014: Verdict(Outcome.RETRY, wait_s=60, alarming=True),
    42001: Verdict(Outcome.RETRY, wait_s=60, alarming=True),
    40013: Verdict(Outcome.RETRY, wait_s=300, alarming=True),  # app id
    40125: Verdict(Outcome.RETRY, wait_s=300, alarming=True),  # secret
    40164: Verdict(Outcome.RETRY, wait_s=300, alarming=True),  # our address is not on WeChat's list
    43107: Verdict(Outcome.RETRY, wait_s=3600, alarming=True),  # subscribe messages are blocked
    48001: Verdict(Outcome.RETRY, wait_s=3600, alarming=True),  # no right to this interface
}
_UNKNOWN = Verdict(Outcome.RETRY, wait_s=300, alarming=True)


class WechatTemplate(Struct, frozen=True, forbid_unknown_fields=True):
    """A template of the mini-program's: `keywords` says for each what fills it.

    `title` and `body` stand for the push's texts, every other name for a member of its data. `page` is what
    the message opens; the id of the message is added to it.
    """

    id: str
    keywords: Mapping[str, str]
    page: str | None = None


def read_templates(raw: Mapping[str, Any]) -> dict[str, WechatTemplate]:
    """Read templates by the kind of message as the settings have them. Raises: ValueError."""
    try:
        return msgspec.convert(raw, dict[str, WechatTemplate])
    except msgspec.ValidationError as error:
        raise ValueError(f"the WeChat templates cannot be read: {error}") from error


class WechatChannel:
    """Sends subscribe messages; `templates` by the kind of message, "" for every other kind.

    A consent is taken before a message is sent and given back when it provably was not. Where the answer was
    lost it is not: the message may have arrived, WeChat would refuse the second one.
    """

    name = "wechat"
    max_batch = 100

    def __init__(
        self,
        client: WechatClient,
        grants: WechatGrantStore,
        templates: Mapping[str, WechatTemplate],
        *,
        production: bool = True,
    ) -> None:
        self._client = client
        self._grants = grants
        self._templates = templates
        self._state = "formal" if production else "developer"
        self._slots = asyncio.Semaphore(_MAX_IN_FLIGHT)

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        """Send pushes and give a receipt for each, in their order; failures are receipts, never raised."""
        return list(await asyncio.gather(*(self._send_in_turn(push, now=now) for push in pushes)))

    async def _send_in_turn(self, push: Push, *, now: datetime) -> Receipt:
        async with self._slots:
            return await self._send(push, now=now)

    async def _send(self, push: Push, *, now: datetime) -> Receipt:
        if push.expires_at is not None and push.expires_at <= now:
            return Receipt(push.device_id, Outcome.REFUSED, "EXPIRED")
        template = self._templates.get(push.data.get("kind", "")) or self._templates.get("")
        if template is None:
            return Receipt(push.device_id, Outcome.REFUSED, "NO_TEMPLATE")
        if not await self._grants.consume(push.token, template.id, now=now):
            return Receipt(push.device_id, Outcome.REFUSED, "NO_CONSENT")
        try:
            await self._client.send_subscribe_message(self._message(push, template))
        except WechatRefusedError as error:
            return await self._judge(push, template, error.code)
        except WechatUnavailableError as error:
            if error.sent:
                return Receipt(push.device_id, Outcome.RETRY, "ANSWER_LOST")
            await self._grants.give_back(push.token, template.id)
            return Receipt(push.device_id, Outcome.RETRY, "NOT_SENT")
        return Receipt(push.device_id, Outcome.SENT, "SENT")

    async def _judge(self, push: Push, template: WechatTemplate, code: int) -> Receipt:
        verdict = VERDICTS.get(code, _UNKNOWN)
        if verdict.alarming:
            _log.error("wechat_configuration", errcode=code, template=template.id)
        if verdict.clears:
            await self._grants.clear(push.token, template.id)
        else:
            await self._grants.give_back(push.token, template.id)
        return Receipt(push.device_id, verdict.outcome, str(code), verdict.wait_s)

    def _message(self, push: Push, template: WechatTemplate) -> dict[str, Any]:
        texts = {**push.data, "title": push.title, "body": push.body}
        message = {
            "touser": push.token,
            "template_id": template.id,
            "miniprogram_state": self._state,
            "lang": "zh_CN",
            "data": {
                keyword: {"value": fit(keyword, texts.get(source, ""))}
                for keyword, source in template.keywords.items()
            },
        }
        if template.page is not None:
            joint = "&" if "?" in template.page else "?"
            message["page"] = f"{template.page}{joint}message={quote(push.data.get('message', ''))}"
        return message


def fit(keyword: str, text: str) -> str:
    """Cut a text to what WeChat takes in a keyword such as `thing3`; an empty one becomes a dash."""
    found = _KEYWORD.fullmatch(keyword)
    limit = KEYWORD_CHARS.get(found[1], 20) if found else 20
    text = " ".join(text.split()) or "-"
    return text if len(text) <= limit else text[: limit - 1] + "…"
