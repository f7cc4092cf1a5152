"""How `firebase_admin` reaches FCM here: the one seam between its messaging service and the network.

The library's own client sends a request up to five times on 500 and 503, sleeps in between while its whole
batch waits, does not read Retry-After, blocks the event loop to refresh credentials, and lets one garbled
answer hide those of a whole batch. This client sends every push once, and every failure leaves it as an
httpx error of that push alone; whoever asked decides what is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import google.auth.transport.requests
import httpx
import msgspec
import orjson
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account

from notifications.channels.fcm_errors import HeldBackError, error_body, read_retry_after

_SCOPES = ("https://www.googleapis.com/auth/firebase.messaging",)
_REFRESH_TIMEOUT_S = 30
_OVERLOADED = frozenset({429, 503})


class TokensUnavailableError(Exception):
    """No access token can be had; nothing was sent."""


class AccessTokens(Protocol):
    """Where the Authorization header comes from."""

    async def header(self) -> str:
        """Give the header's value. Raises: TokensUnavailableError."""

    def forget(self) -> None:
        """Take note that the provider did not accept the last one."""


class StaticTokens:
    """One fixed bearer token, for servers that check none."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    async def header(self) -> str:
        """Give the header's value."""
        return self._header

    def forget(self) -> None:
        """Keep it: there is no other."""


class ServiceAccountTokens:
    """Access tokens of a service account, refreshed in a thread before they expire."""

    def __init__(self, file: Path) -> None:
        self._credentials = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
            str(file), scopes=_SCOPES
        )
        self._refused = False
        self._lock = asyncio.Lock()

    async def header(self) -> str:
        """Give the header's value. Raises: TokensUnavailableError."""
        async with self._lock:
            if self._refused or not self._credentials.valid:
                request = google.auth.transport.requests.Request()
                try:
                    async with asyncio.timeout(_REFRESH_TIMEOUT_S):
                        await asyncio.to_thread(self._credentials.refresh, request)
                except (GoogleAuthError, TimeoutError) as error:
                    raise TokensUnavailableError(type(error).__name__) from error
                self._refused = False
            return f"Bearer {self._credentials.token}"

    def forget(self) -> None:
        """Refresh before the next use."""
        self._refused = True


class _Gate:
    """Closes when the provider says time and again, and to everybody, that it is overloaded.

    One push may be told to wait because of its own device; many in a row are told so because of all of them.
    """

    _LIMIT = 20

    def __init__(self) -> None:
        self._in_a_row = 0
        self._until = 0.0

    def remaining_s(self) -> float:
        return self._until - asyncio.get_running_loop().time()

    def answered(self, status: int, wait_s: float | None) -> None:
        if status not in _OVERLOADED or wait_s is None:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        if self._in_a_row >= self._LIMIT:
            self._in_a_row = 0
            self._until = asyncio.get_running_loop().time() + wait_s


class FcmClient:
    """Sends one request for one push; shaped as the client that the messaging service calls."""

    def __init__(self, url: str, tokens: AccessTokens, *, max_in_flight: int, timeout_s: float) -> None:
        self._url = url
        self.tokens = tokens
        self._gate = _Gate()
        self._slots = asyncio.Semaphore(max_in_flight)
        self._authorization = ""
        self._timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0))
        self._tls = httpx.create_ssl_context() if url.startswith("https://") else False
        # One connection each: a pool of httpx looks through all its connections for every request.
        self._idle: list[httpx.AsyncClient] = []

    async def prepare(self) -> None:
        """Make sure that there is an access token. Raises: TokensUnavailableError."""
        self._authorization = await self.tokens.header()

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], json: Mapping[str, Any]
    ) -> httpx.Response:
        """Post one message once.

        Raises: httpx.HTTPError, whatever went wrong.
        """
        async with self._slots:
            if (remaining_s := self._gate.remaining_s()) > 0:
                raise HeldBackError(remaining_s)
            http = self._idle.pop() if self._idle else self._open()
            try:
                response = await http.post(
                    self._url,
                    content=orjson.dumps(json),
                    headers={
                        **headers,
                        "authorization": self._authorization,
                        "content-type": "application/json",
                    },
                )
            except (RuntimeError, OSError) as error:
                # A transport that was closed under the client: uvloop and ssl have errors of their own.
                raise httpx.ReadError(type(error).__name__) from error
            finally:
                self._idle.append(http)
        wait_s = read_retry_after(response.headers.get("retry-after"), now=datetime.now(UTC))
        self._gate.answered(response.status_code, wait_s)
        return _checked(response)

    def _open(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._tls,
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=1),
            trust_env=self._tls is not False,  # the proxy of the way out, never for a server of this machine
        )

    async def aclose(self) -> None:
        """Close the connections."""
        while self._idle:
            await self._idle.pop().aclose()


def _checked(response: httpx.Response) -> httpx.Response:
    """Let only answers through that the library reads without stumbling."""
    if response.is_success:
        try:
            if isinstance(msgspec.json.decode(response.content)["name"], str):
                return response
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise httpx.RemoteProtocolError("unreadable answer") from error
        raise httpx.RemoteProtocolError("unreadable answer")
    if not error_body(response):
        headers = {name: response.headers[name] for name in ("retry-after",) if name in response.headers}
        response = httpx.Response(
            response.status_code, headers=headers, content=b"{}", request=response.request
        )
    raise httpx.HTTPStatusError("refused", request=response.request, response=response)
