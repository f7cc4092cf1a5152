"""A local server that speaks the part of WeChat's interface that a mini-program's backend uses.

    async with running_wechat_server() as wechat: ... WechatConfig(APP_ID, SECRET, endpoint=wechat.url)

Login codes `code-of-X` belong to the openid `X`, each once. `wechat.consents[openid, template]` counts what
the citizen has allowed. `wechat.script` holds what the next subscribe messages meet: an error code, or a
`Fault`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

APP_ID = "wx0123456789abcdef"
SECRET = "0123456789abcdef0123456789abcdef"


class Fault(StrEnum):
    """What may go wrong beside error codes; AFTER: the message was taken, its answer is lost."""

    RESET_BEFORE = "RESET_BEFORE"
    RESET_AFTER = "RESET_AFTER"
    STATUS_500 = "STATUS_500"
    GARBLED = "GARBLED"


class Wechat:
    """The state of the server."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens: list[str] = []
        self.forced = 0
        self.token_delay_s = 0.0
        self.token_error: int | None = None
        self.valid_tokens: set[str] = set()
        self.used_codes: set[str] = set()
        self.consents: Counter[tuple[str, str]] = Counter()
        self.unknown_openids: set[str] = set()
        self.templates = {"template-1": {"thing1", "time2"}, "template-2": {"thing1"}}
        self.script: list[int | Fault] = []
        self.messages: list[dict[str, Any]] = []
        self.requests: Counter[str] = Counter()

    def expire_tokens(self) -> None:
        """Let every access token end."""
        self.valid_tokens.clear()

    async def answer(self, path: str, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any] | Fault:
        """Answer one request."""
        self.requests[path] += 1
        if path == "/sns/jscode2session":
            return self._session(query)
        if path == "/cgi-bin/stable_token":
            return await self._token(body)
        if path == "/cgi-bin/message/subscribe/send":
            return self._send(query, body)
        return {"errcode": 40066, "errmsg": "invalid url"}

    def _session(self, query: dict[str, str]) -> dict[str, Any]:
        if (query.get("appid"), query.get("secret")) != (APP_ID, SECRET):
            return {"errcode": 40125, "errmsg": "invalid appsecret"}
        code = query.get("js_code", "")
        if not code.startswith("code-of-"):
            return {"errcode": 40029, "errmsg": "invalid code"}
        if code in self.used_codes:
            return {"errcode": 40163, "errmsg": "code been used"}
        self.used_codes.add(code)
        openid = code.removeprefix("code-of-")
        return {"openid": openid, "session_key": "secret", "unionid": f"union-{openid}"}

    async def _token(self, body: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(self.token_delay_s)
        if self.token_error is not None:
            return {"errcode": self.token_error, "errmsg": "no"}
        if (body.get("appid"), body.get("secret")) != (APP_ID, SECRET):
            return {"errcode": 40125, "errmsg": "invalid appsecret"}
        self.forced += body["force_refresh"]
        if not self.valid_tokens or body["force_refresh"]:
            self.tokens.append(f"access-{len(self.tokens) + 1}")
            self.valid_tokens = {self.tokens[-1]}
        return {"access_token": self.tokens[-1], "expires_in": 7200}

    def _send(self, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any] | Fault:
        if query.get("access_token") not in self.valid_tokens:
            return {"errcode": 40001, "errmsg": "invalid credential"}
        met = self.script.pop(0) if self.script else None
        if isinstance(met, Fault) and met is not Fault.RESET_AFTER:
            return met
        if isinstance(met, int):
            return {"errcode": met, "errmsg": "by plan"}
        code = self._check(body)
        if code:
            return {"errcode": code, "errmsg": "refused"}
        self.consents[body["touser"], body["template_id"]] -= 1
        self.messages.append(body)
        return met or {"errcode": 0, "errmsg": "ok"}

    def _check(self, body: dict[str, Any]) -> int:
        if body["touser"] in self.unknown_openids:
            return 40003
        keywords = self.templates.get(body["template_id"])
        if keywords is None:
            return 40037
        if set(body["data"]) != keywords:
            return 47003
        for name, member in body["data"].items():
            if not member["value"] or (name.startswith("thing") and len(member["value"]) > 20):
                return 47003
        return 0 if self.consents[body["touser"], body["template_id"]] > 0 else 43101


@asynccontextmanager
async def running_wechat_server() -> AsyncIterator[Wechat]:
    """Serve on the loopback, in this event loop."""
    wechat = Wechat()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                target = urlsplit(head.split(b" ", 2)[1].decode())
                query = {name: values[0] for name, values in parse_qs(target.query).items()}
                answer = await wechat.answer(target.path, query, json.loads(body or b"{}"))
                if answer in {Fault.RESET_BEFORE, Fault.RESET_AFTER} if isinstance(answer, Fault) else False:
                    writer.transport.abort()
                    return
                status = "500 Internal Server Error" if answer is Fault.STATUS_500 else "200 OK"
                content = b"<html>" if isinstance(answer, Fault) else json.dumps(answer).encode()
                head_lines = f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\n\r\n"
                writer.write(head_lines.encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    wechat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield wechat
