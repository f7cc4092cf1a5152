"""Text messages: a gateway that speaks HTTP, and an inbox on the spot for development."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import httpx
import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import UpstreamFailure

INBOX_SIZE: Final = 100
INBOX_LIFE: Final = timedelta(hours=1)
_CONFIGURATION: Final = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405})
"""What a gateway answers whose address or token is wrong: no message is lost by that."""
_BUSY: Final = frozenset({408, 425, 429})
_REPAIR_S: Final = 300.0
_MOST_WAIT_S: Final = 3_600.0
_INBOX_KEY = "mintong:development:sms"


class SmsError(OSError):
    """A message could not be handed over; the text tells neither phone nor code.

    `reason` is a stable word. `is_lost`: the gateway may have taken it all the same. `retry_after_s` is its
    wish, in seconds. `is_alarming`: somebody must repair the configuration.
    """

    def __init__(
        self,
        reason: str,
        failure: UpstreamFailure = UpstreamFailure.TRANSIENT,
        *,
        is_lost: bool = False,
        retry_after_s: float | None = None,
        is_alarming: bool = False,
    ) -> None:
        super().__init__(f"the text message was not taken: {reason}")
        self.reason = reason
        self.failure = failure
        self.is_lost = is_lost
        self.retry_after_s = retry_after_s
        self.is_alarming = is_alarming


class SmsChannel(Protocol):
    """What brings text messages to phones of 11 digits."""

    async def send_code(self, phone: str, code: str, language: str) -> None:
        """Send a one-time code in "zh" or "en". Raises: SmsError."""

    async def send(self, phone: str, text: str, language: str, key: str) -> None:
        """Send a text in "zh" or "en"; the same `key` means the same message again. Raises: SmsError."""


class SentSms(Struct, frozen=True):
    """A message in the development inbox; `code` where it is one."""

    phone: str
    text: str
    sent_at: datetime
    code: str | None = None


def code_text(code: str, language: str) -> str:
    """Word the message that brings a code."""
    if language == "en":
        return f"[Mintong] Your code is {code}, valid for 5 minutes. Never share it with anyone."
    return f"【闽政通】您的验证码是 {code}，5 分钟内有效。请勿告诉他人。"


def _print(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


class DevelopmentSms:
    """Prints messages to the console and keeps the last ones in Redis; phones get nothing."""

    def __init__(self, redis: Redis, *, production: bool, write: Callable[[str], None] = _print) -> None:
        if production:
            raise ValueError("the development inbox shows codes to everybody: never in production")
        self._redis = redis
        self._write = write

    async def send_code(self, phone: str, code: str, language: str) -> None:
        """Show a code. Raises: SmsError."""
        await self._keep(SentSms(phone, code_text(code, language), datetime.now(UTC), code))

    async def send(self, phone: str, text: str, language: str, key: str) -> None:
        """Show a text. Raises: SmsError."""
        await self._keep(SentSms(phone, text, datetime.now(UTC)))

    async def _keep(self, sms: SentSms) -> None:
        self._write(f"SMS to {sms.phone}: {sms.text}\n")
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.lpush(_INBOX_KEY, msgspec.json.encode(sms))
                pipeline.ltrim(_INBOX_KEY, 0, INBOX_SIZE - 1)
                pipeline.expire(_INBOX_KEY, INBOX_LIFE)
                await pipeline.execute()
        except RedisError as error:
            raise SmsError("INBOX_AWAY") from error

    async def list_sent(self) -> list[SentSms]:
        """List the last messages, newest first."""
        entries = await self._redis.lrange(_INBOX_KEY, 0, INBOX_SIZE - 1)
        return [msgspec.json.decode(entry, type=SentSms) for entry in entries]


class SmsGatewayConfig(Struct, frozen=True):
    """A gateway that takes `POST {"phone", "text", "kind": "code" or "text", "language", "code"}`.

    It answers 2xx once it has taken the message. `token` goes into the Authorization header. A text has an
    Idempotency-Key, of which the gateway sends one message however often it comes.
    """

    url: str
    token: str
    timeout_s: float = 5


class GatewaySms:
    """Hands messages to a gateway, one call each: whoever calls knows whether another try makes sense."""

    def __init__(self, http: httpx.AsyncClient, config: SmsGatewayConfig) -> None:
        self._http = http
        self._config = config

    async def send_code(self, phone: str, code: str, language: str) -> None:
        """Send a one-time code in "zh" or "en". Raises: SmsError."""
        await self._post(
            {
                "phone": phone,
                "text": code_text(code, language),
                "kind": "code",
                "language": language,
                "code": code,
            }
        )

    async def send(self, phone: str, text: str, language: str, key: str) -> None:
        """Send a text in "zh" or "en"; the same `key` means the same message again. Raises: SmsError."""
        message = {"phone": phone, "text": text, "kind": "text", "language": language, "code": None}
        await self._post(message, {"idempotency-key": key})

    async def _post(self, message: dict[str, str | None], more: Mapping[str, str] | None = None) -> None:
        headers = {"authorization": f"Bearer {self._config.token}", "content-type": "application/json"}
        try:
            response = await self._http.post(
                self._config.url, content=msgspec.json.encode(message), headers={**headers, **(more or {})}
            )
        # No error of the HTTP client is passed on: it would show phone and code to whoever logs it.
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise SmsError("NOT_SENT") from None
        except (httpx.HTTPError, RuntimeError, OSError):
            raise SmsError("ANSWER_LOST", is_lost=True) from None
        if not response.is_success:
            raise _refusal(response)


def _refusal(response: httpx.Response) -> SmsError:
    """Judge a status that is not 2xx."""
    status = response.status_code
    if status in _CONFIGURATION:
        return SmsError(str(status), retry_after_s=_REPAIR_S, is_alarming=True)
    if status in _BUSY or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        asked = response.headers.get("retry-after", "")
        wait_s = min(float(asked), _MOST_WAIT_S) if asked.isascii() and asked.isdigit() else None
        return SmsError(str(status), retry_after_s=wait_s)
    return SmsError(str(status), UpstreamFailure.PERMANENT)


@asynccontextmanager
async def open_sms(
    gateway: SmsGatewayConfig | None, redis: Redis, *, production: bool
) -> AsyncIterator[SmsChannel]:
    """Open the gateway, or the development inbox where there is none.

    Raises: ValueError in production without a gateway.
    """
    if gateway is None:
        yield DevelopmentSms(redis, production=production)
        return
    async with httpx.AsyncClient(timeout=gateway.timeout_s) as http:
        yield GatewaySms(http, gateway)
