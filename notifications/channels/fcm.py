"""Pushes to phones through Firebase Cloud Messaging (HTTP v1)."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import firebase_admin  # type: ignore[import-untyped]
import structlog
from firebase_admin import messaging
from firebase_admin.credentials import Base as BaseCredential  # type: ignore[import-untyped]
from firebase_admin.exceptions import FirebaseError  # type: ignore[import-untyped]
from google.auth.credentials import AnonymousCredentials
from msgspec import Struct

from notifications.channels.base import Outcome, Push, Receipt
from notifications.channels.fcm_client import (
    AccessTokens,
    FcmClient,
    ServiceAccountTokens,
    StaticTokens,
    TokensUnavailableError,
)
from notifications.channels.fcm_errors import VERDICTS, receipt, receipt_of

ENDPOINT = "https://fcm.googleapis.com"
MAX_BATCH = 500
_MAX_TTL = timedelta(weeks=4)
_MAX_APPLE_KEY_BYTES = 64

_log = structlog.get_logger()


class FcmConfig(Struct, frozen=True):
    """How to reach FCM. `credentials` is a service account's file; None only for a server of this machine.

    Every push in flight has a connection of its own, HTTP/1.1: on one connection for all, as HTTP/2 has it, a
    reset would cost the answers of all pushes in flight instead of one.
    """

    project_id: str
    credentials: Path | None = None
    endpoint: str = ENDPOINT
    max_in_flight: int = 100
    timeout_s: float = 10


class _NoCredential(BaseCredential):  # type: ignore[misc]
    """Keeps the library from looking for credentials; `FcmClient` adds the header."""

    def get_credential(self) -> AnonymousCredentials:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]


class FcmChannel:
    """Sends pushes to FCM: at most `MAX_BATCH` a call, calls may overlap, every push goes out once a call."""

    name = "fcm"
    max_batch = MAX_BATCH

    def __init__(self, app: firebase_admin.App, client: FcmClient) -> None:
        self._app = app
        self._client = client

    async def send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        """Send pushes and give a receipt for each, in their order; failures are receipts, never raised."""
        due = [push for push in pushes if push.expires_at is None or push.expires_at > now]
        try:
            if due:
                await self._client.prepare()
            receipts = iter(await self._send(due, now=now))
        except TokensUnavailableError as error:
            _log.error("fcm_tokens_unavailable", reason=str(error))
            receipts = iter([receipt(push.device_id, "UNAUTHENTICATED") for push in due])
        late = len(pushes) != len(due)
        results = [
            receipt(push.device_id, "EXPIRED")
            if late and push.expires_at is not None and push.expires_at <= now
            else next(receipts)
            for push in pushes
        ]
        self._tell(results)
        return results

    async def _send(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        if len(pushes) > MAX_BATCH:
            parts = [pushes[start : start + MAX_BATCH] for start in range(0, len(pushes), MAX_BATCH)]
            return [one for part in parts for one in await self._send(part, now=now)]
        if not pushes:
            return []
        try:
            batch = await messaging.send_each_async(_messages(pushes, now=now), app=self._app)
        except ValueError:
            return await self._send_around_malformed(pushes, now=now)
        except FirebaseError as error:
            _log.error("fcm_batch_failed", error=type(error.cause).__name__)
            return [receipt(push.device_id, "ANSWER_LOST") for push in pushes]
        return [
            self._judge(push, response, now=now)
            for push, response in zip(pushes, batch.responses, strict=True)
        ]

    async def _send_around_malformed(self, pushes: Sequence[Push], *, now: datetime) -> list[Receipt]:
        """Find the push that the library refuses to encode; it does so before it sends any of a call."""
        if len(pushes) == 1:
            return [receipt(pushes[0].device_id, "MALFORMED")]
        middle = len(pushes) // 2
        first = await self._send(pushes[:middle], now=now)
        return first + await self._send(pushes[middle:], now=now)

    def _judge(self, push: Push, response: messaging.SendResponse, *, now: datetime) -> Receipt:
        if response.exception is None:
            return Receipt(push.device_id, Outcome.SENT, "SENT", None, response.message_id)
        result = receipt_of(push.device_id, response.exception, now=now)
        if result.reason == "UNAUTHENTICATED":
            self._client.tokens.forget()
        return result

    def _tell(self, receipts: Sequence[Receipt]) -> None:
        alarming = Counter(one.reason for one in receipts if one.reason in _ALARMING)
        if alarming:
            _log.error("fcm_configuration", **alarming)


_ALARMING = frozenset(reason for reason, verdict in VERDICTS.items() if verdict.alarming)


@asynccontextmanager
async def open_fcm(config: FcmConfig) -> AsyncIterator[FcmChannel]:
    """Open the channel; close its connections afterwards. Nothing is sent before the first push.

    Raises: ValueError or OSError when the service account's file cannot be read, or when it is missing for
    FCM itself.
    """
    tokens: AccessTokens
    if config.credentials is not None:
        tokens = await asyncio.to_thread(ServiceAccountTokens, config.credentials)
    elif config.endpoint == ENDPOINT:
        raise ValueError("FCM needs the file of a service account")
    else:
        tokens = StaticTokens("local")
    client = FcmClient(
        f"{config.endpoint.rstrip('/')}/v1/projects/{config.project_id}/messages:send",
        tokens,
        max_in_flight=config.max_in_flight,
        timeout_s=config.timeout_s,
    )
    app = firebase_admin.initialize_app(
        _NoCredential(), {"projectId": config.project_id}, name=f"mintong-{secrets.token_hex(8)}"
    )
    # The library offers no way to say which address, connections and retries its messaging service uses.
    messaging._get_messaging_service(app)._async_client = client
    try:
        yield FcmChannel(app, client)
    finally:
        await client.aclose()
        # It closes the client in an event loop of its own; by then there is nothing left to close.
        await asyncio.to_thread(firebase_admin.delete_app, app)


def _messages(pushes: Sequence[Push], *, now: datetime) -> list[messaging.Message]:
    """Make the library's messages; neighbours of the same content share its parts."""
    messages: list[messaging.Message] = []
    content: tuple[object, ...] | None = None
    for push in pushes:
        before, content = content, _content(push)
        if content == before:
            like = messages[-1]
            message = messaging.Message(
                data=like.data, notification=like.notification, android=like.android, apns=like.apns
            )
        else:
            message = _message(push, now=now)
        # Set afterwards: the constructor warns of tokens, but they are what registered apps have.
        message.token = push.token
        messages.append(message)
    return messages


def _content(push: Push) -> tuple[object, ...]:
    return (push.data, push.collapse_key, push.title, push.body, push.expires_at, push.urgent)


def _message(push: Push, *, now: datetime) -> messaging.Message:
    """Make a message without its token.

    Android's own `collapse_key` stays unset: FCM keeps four of them for a phone that is offline and drops
    the messages of all others. The tag and Apple's collapse id replace what is shown, and drop nothing.
    """
    key = push.collapse_key
    if len(key.encode()) > _MAX_APPLE_KEY_BYTES:
        key = blake2b(key.encode(), digest_size=32).hexdigest()
    headers = {"apns-priority": "10" if push.urgent else "5"}
    if key:
        headers["apns-collapse-id"] = key
    ttl = _MAX_TTL
    if push.expires_at is not None:
        headers["apns-expiration"] = str(int(push.expires_at.timestamp()))
        ttl = min(push.expires_at - now, _MAX_TTL)
    level = "high" if push.urgent else "normal"
    return messaging.Message(
        data=dict(push.data),
        notification=messaging.Notification(title=push.title, body=push.body),
        android=messaging.AndroidConfig(
            priority=level,
            ttl=ttl,
            notification=messaging.AndroidNotification(
                tag=key or None, priority="high" if push.urgent else "default"
            ),
        ),
        apns=messaging.APNSConfig(
            headers=headers,
            payload=messaging.APNSPayload(messaging.Aps(sound="default" if push.urgent else None)),
        ),
    )
