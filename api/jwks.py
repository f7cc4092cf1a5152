"""The keys of an outside issuer: fetched, kept, and read again when old or one is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import httpx
import structlog

from operations.tokens import InvalidKeySetError, VerifyingKey, read_key_set

log = structlog.get_logger(__name__)

MAX_BYTES: Final = 256_000
MAX_AGE: Final = timedelta(hours=1)
MIN_INTERVAL: Final = timedelta(seconds=30)
"""However many tokens name unknown keys, the issuer is asked no more often."""


class OutsideKeys:
    """The public keys of one issuer; those that were read last stay while the issuer does not answer."""

    def __init__(
        self, url: str, *, timeout_s: float, client: Callable[[], httpx.AsyncClient] | None = None
    ) -> None:
        self._url = url
        self._make_client = client or (lambda: httpx.AsyncClient(timeout=timeout_s, follow_redirects=False))
        self._keys: Mapping[str, VerifyingKey] = {}
        self._read_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._asking = asyncio.Lock()

    async def keys(self, kid: str, *, now: datetime) -> Mapping[str, VerifyingKey]:
        """Give the keys by id, read again when they are old, or do not hold `kid`."""
        old = self._read_at is None or now - self._read_at >= MAX_AGE
        if (old or kid not in self._keys) and self._may_ask(now):
            async with self._asking:
                if self._may_ask(now):
                    self._asked_at = now
                    await self._read(now)
        return self._keys

    def _may_ask(self, now: datetime) -> bool:
        return self._asked_at is None or now - self._asked_at >= MIN_INTERVAL

    async def _read(self, now: datetime) -> None:
        try:
            self._keys = read_key_set(await self._fetch())
        except (httpx.HTTPError, InvalidKeySetError, TimeoutError) as error:
            log.warning("oidc.keys_kept", error=type(error).__name__, keys=len(self._keys))
            return
        self._read_at = now

    async def _fetch(self) -> bytes:
        data = bytearray()
        async with self._make_client() as client, client.stream("GET", self._url) as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_BYTES:
                    raise InvalidKeySetError("too large")
        return bytes(data)
