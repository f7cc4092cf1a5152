"""WeChat's HTTP interface: who a login code belongs to, the access token, subscribe messages.

Sources: WeChat mini-program server API, `jscode2session`, `stable_token`, `subscribeMessage.send`, and its
table of global error codes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.account import WechatSignInError

ENDPOINT = "https://api.weixin.qq.com"
TOKEN_REFUSED: Final = frozenset({40001, 40014, 42001})
_SUCCESS = 0
_EARLY_S = 300  # tokens are renewed before they end; WeChat keeps the former one valid for five minutes
_LOCK_MS = 15_000
_POLL_S = 0.05
_POLLS = 200
_MAX_BODY = 65_536

# Deletes a key that still has the value seen: what somebody else has written since is newer.
_DELETE_IF = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
)


class WechatConfig(Struct, frozen=True):
    """How to reach WeChat as a mini-program."""

    app_id: str
    secret: str
    endpoint: str = ENDPOINT
    timeout_s: float = 5
    max_in_flight: int = 20


class WechatSession(Struct, frozen=True):
    """Who is behind a login code; `unionid` is None outside of an open-platform account."""

    openid: str
    unionid: str | None = None


class WechatUnavailableError(Exception):
    """WeChat did not answer, or not in a form that can be read; `sent` False: it was provably not asked."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class WechatRefusedError(Exception):
    """WeChat answered with an error code."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class WechatClient:
    """Talks to WeChat. One access token serves all processes: it lies in Redis, and one of them renews it."""

    def __init__(self, http: httpx.AsyncClient, redis: Redis, config: WechatConfig) -> None:
        self._http = http
        self._redis = redis
        self._config = config
        self._token_key = f"mintong:wechat:token:{config.app_id}"
        self._lock_key = f"mintong:wechat:token-lock:{config.app_id}"
        self._delete_if = redis.register_script(_DELETE_IF)

    async def code_to_session(self, code: str) -> WechatSession:
        """Exchange a mini-program's login code for its user; the session key is not kept.

        Raises: domain.account.WechatSignInError.
        """
        query = {
            "appid": self._config.app_id,
            "secret": self._config.secret,
            "js_code": code,
            "grant_type": "authorization_code",
        }
        try:
            answer = await self._call("GET", "/sns/jscode2session", params=query)
            return msgspec.convert(answer, WechatSession)
        except (WechatUnavailableError, WechatRefusedError, msgspec.ValidationError) as error:
            raise WechatSignInError from error

    async def send_subscribe_message(self, body: Mapping[str, Any]) -> None:
        """Send one subscribe message; a token that WeChat refuses is renewed once.

        Raises: WechatRefusedError, WechatUnavailableError.
        """
        token = await self._token()
        path = "/cgi-bin/message/subscribe/send"
        try:
            await self._call("POST", path, params={"access_token": token}, json=body)
        except WechatRefusedError as error:
            if error.code not in TOKEN_REFUSED:
                raise
            token = await self._token(refused=token)
            await self._call("POST", path, params={"access_token": token}, json=body)

    async def _token(self, *, refused: str | None = None) -> str:
        """Give the access token of all processes, another one than `refused`.

        Raises: WechatRefusedError, WechatUnavailableError (never `sent`).
        """
        try:
            return await self._shared_token(refused)
        except RedisError:
            # A stable token is the same for whoever asks; without Redis each process asks for itself.
            token, _ = await self._fetch_token(force=refused is not None)
            return token

    async def _shared_token(self, refused: str | None) -> str:
        mark = secrets.token_hex(8)
        for _ in range(_POLLS):
            if (known := await self._known_token(refused)) is not None:
                return known
            if await self._redis.set(self._lock_key, mark, nx=True, px=_LOCK_MS):
                break
            await asyncio.sleep(_POLL_S)
        else:
            raise WechatUnavailableError("no token in time", sent=False)
        try:
            # Between the look and the lock another process may have renewed it.
            if (known := await self._known_token(refused)) is not None:
                return known
            token, life_s = await self._fetch_token(force=refused is not None)
            await self._redis.set(self._token_key, token, ex=max(life_s - _EARLY_S, 1))
            return token
        finally:
            await self._delete_if(keys=[self._lock_key], args=[mark])

    async def _known_token(self, refused: str | None) -> str | None:
        # A refused one stays until it is replaced: who found none would not ask for another than that.
        known = await self._redis.get(self._token_key)
        token = known.decode("ascii") if isinstance(known, bytes) else known
        return None if token == refused else token

    async def _fetch_token(self, *, force: bool) -> tuple[str, int]:
        body = {
            "grant_type": "client_credential",
            "appid": self._config.app_id,
            "secret": self._config.secret,
            "force_refresh": force,
        }
        try:
            answer = await self._call("POST", "/cgi-bin/stable_token", json=body)
            return str(answer["access_token"]), int(answer["expires_in"])
        except WechatUnavailableError as error:
            raise WechatUnavailableError(str(error), sent=False) from error
        except (KeyError, TypeError, ValueError) as error:
            raise WechatUnavailableError("unreadable token", sent=False) from error

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Call WeChat once; addresses carry secrets, so no error of the HTTP client is passed on."""
        content = None if json is None else msgspec.json.encode(json)
        try:
            response = await self._http.request(method, path, params=params, content=content)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise WechatUnavailableError(type(error).__name__, sent=False) from None
        except (httpx.HTTPError, RuntimeError, OSError) as error:
            raise WechatUnavailableError(type(error).__name__, sent=True) from None
        if response.status_code != httpx.codes.OK or len(response.content) > _MAX_BODY:
            raise WechatUnavailableError(f"status {response.status_code}", sent=True)
        try:
            answer = msgspec.json.decode(response.content, type=dict[str, Any])
            code = int(answer.get("errcode", _SUCCESS))
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError, ValueError):
            raise WechatUnavailableError("unreadable answer", sent=True) from None
        if code != _SUCCESS:
            raise WechatRefusedError(code)
        return answer


@asynccontextmanager
async def open_wechat(config: WechatConfig, redis: Redis) -> AsyncIterator[WechatClient]:
    """Open a client; close its connections afterwards. Nothing is sent before the first call."""
    encrypted = config.endpoint.startswith("https://")
    limits = httpx.Limits(
        max_connections=config.max_in_flight, max_keepalive_connections=config.max_in_flight
    )
    async with httpx.AsyncClient(
        base_url=config.endpoint, timeout=config.timeout_s, limits=limits, trust_env=encrypted
    ) as http:
        yield WechatClient(http, redis, config)
