"""The authority's register of residents over HTTP: does this name belong to this resident id number?

`POST {"requestId", "name", "residentId"}` with a bearer token; `200 {"requestId", "match": true or false}` is
an answer, `match` false also for a number that nobody has. Nothing personal is logged, kept or in an error.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import httpx
import msgspec
import structlog
from msgspec import Struct
from prometheus_client import Counter

from domain.account import IdentityServiceError
from domain.errors import UpstreamFailure

ATTEMPTS: Final = 2
OPEN_AFTER: Final = 5
"""So many calls in a row that failed, and the register is left alone."""
OPEN_S: Final = 15.0
_PAUSE_S: Final = 0.2
_MAX_BODY: Final = 16_384
_MAX_IN_FLIGHT: Final = 20
_BUSY: Final = frozenset({408, 425, 429})

_CALLS: Final = Counter(
    "mintong_identity_register_calls_total", "Calls of the register of residents by outcome.", ("outcome",)
)
_log = structlog.get_logger(__name__)


class RegisterConfig(Struct, frozen=True):
    """How to reach the register; `timeout_s` is for one of at most two attempts."""

    url: str
    token: str
    timeout_s: float = 3


class _Answer(Struct, rename="camel"):
    request_id: str
    match: bool


class _CallError(Exception):
    """One attempt failed; `reason` is a stable word without anything of the call."""

    def __init__(self, failure: UpstreamFailure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason


class Breaker:
    """Leaves a system alone for `OPEN_S` after `OPEN_AFTER` failures in a row; then one call tries."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_until = float("-inf")

    def may_call(self) -> bool:
        """Tell whether to call now; who is let through after a pause keeps the others waiting meanwhile."""
        if self._failures < OPEN_AFTER:
            return True
        now = self._clock()
        if now < self._closed_until:
            return False
        self._closed_until = now + OPEN_S
        return True

    def note(self, *, failed: bool) -> None:
        """Take note of what a call came to."""
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= OPEN_AFTER:
            self._closed_until = self._clock() + OPEN_S


class HttpRegister:
    """Asks the register; what may be a passing failure is tried once more."""

    def __init__(
        self, http: httpx.AsyncClient, config: RegisterConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._config = config
        self._breaker = Breaker(clock)

    async def matches(self, name: str, number: str) -> bool:
        """Tell whether a name and a resident id number belong together.

        Raises: domain.account.IdentityServiceError, whose `failure` says whether trying later may help.
        """
        if not self._breaker.may_call():
            _CALLS.labels("held_back").inc()
            raise IdentityServiceError(UpstreamFailure.TRANSIENT)
        try:
            is_match = await self._ask_again(name, number)
        except _CallError as error:
            self._breaker.note(failed=True)
            raise IdentityServiceError(error.failure) from None
        self._breaker.note(failed=False)
        return is_match

    async def _ask_again(self, name: str, number: str) -> bool:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                is_match = await self._ask(name, number)
            except _CallError as error:
                _CALLS.labels(error.failure.value.lower()).inc()
                is_last = attempt == ATTEMPTS or error.failure is UpstreamFailure.PERMANENT
                level = _log.error if error.failure is UpstreamFailure.PERMANENT else _log.warning
                level("identity_register.failed", failure=error.failure.value, reason=error.reason)
                if is_last:
                    raise
                await asyncio.sleep(_PAUSE_S * (1 + random.random()))  # noqa: S311
            else:
                _CALLS.labels("match" if is_match else "mismatch").inc()
                return is_match
        raise AssertionError("the last attempt returns or raises")

    async def _ask(self, name: str, number: str) -> bool:
        request_id = secrets.token_hex(16)
        question = {"requestId": request_id, "name": name, "residentId": number}
        headers = {"authorization": f"Bearer {self._config.token}", "content-type": "application/json"}
        try:
            # The client's own timeout is for each read: an answer could come drop by drop.
            async with asyncio.timeout(self._config.timeout_s):
                response = await self._http.post(
                    self._config.url, content=msgspec.json.encode(question), headers=headers
                )
        except (httpx.HTTPError, RuntimeError, OSError) as error:
            raise _CallError(UpstreamFailure.TRANSIENT, type(error).__name__) from None
        return _read(response, request_id)


def _read(response: httpx.Response, request_id: str) -> bool:
    """Read an answer; one to somebody else's question is none."""
    status = response.status_code
    if status in _BUSY or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise _CallError(UpstreamFailure.TRANSIENT, str(status))
    if status != httpx.codes.OK:
        raise _CallError(UpstreamFailure.PERMANENT, str(status))
    if len(response.content) > _MAX_BODY:
        raise _CallError(UpstreamFailure.TRANSIENT, "TOO_LARGE")
    try:
        answer = msgspec.json.decode(response.content, type=_Answer)
    except msgspec.ValidationError:
        raise _CallError(UpstreamFailure.PERMANENT, "OTHER_FORM") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _CallError(UpstreamFailure.TRANSIENT, "UNREADABLE") from None
    if answer.request_id != request_id:
        raise _CallError(UpstreamFailure.TRANSIENT, "OTHER_ANSWER")
    return answer.match


@asynccontextmanager
async def open_register(config: RegisterConfig) -> AsyncIterator[HttpRegister]:
    """Open a client; close its connections afterwards. Nothing is sent before the first call."""
    limits = httpx.Limits(max_connections=_MAX_IN_FLIGHT, max_keepalive_connections=_MAX_IN_FLIGHT)
    encrypted = config.url.startswith("https://")
    async with httpx.AsyncClient(timeout=config.timeout_s, limits=limits, trust_env=encrypted) as http:
        yield HttpRegister(http, config)
