"""A local server that speaks FCM's HTTP v1 protocol, makes mistakes by plan and remembers every effect.

    python -m tests.notifications.fcm_server [--port P] [--project ID] [--faults JSON] [--seed N]

It prints `listening on http://127.0.0.1:PORT` and serves until it is ended. `running_fcm_server()` starts one
as a process of its own.

    POST /v1/projects/{project}/messages:send   what FCM does; an effect counts for (token, collapse key)
    POST /token                                 access tokens of a service account: token-1, token-2, ...
    GET  /_effects                              [[token, collapse key, count, lost answers, data], ...]
    GET  /_stats                                {"requests": n, "effects": n, "answers": {fault or SENT: n}}
    POST /_control                              {"faults": {fault: rate}, "seed": n, "retry_after_s": n,
                                                 "hang_s": n, "scripts": {token: [fault, ...]},
                                                 "unregister": [token, ...], "authorization": text,
                                                 "reset": true}; every member may be missing

Which request meets which fault depends on the seed, the token, the collapse key and the number of the
attempt, never on time. Tokens say what they are: `dead-…` is unregistered, `malformed-…` is no token,
`stranger-…` belongs to another sender, `apple-…` lacks the sender's APNs key; every other token lives until
it is unregistered.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import httptools
import orjson
import uvloop

MAX_BODY = 65_536
MAX_PAYLOAD = 4096
MAX_TTL_S = 4 * 7 * 86_400
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


class Fault(StrEnum):
    """What may go wrong; AFTER: the message took effect and only the answer is lost."""

    RATE_LIMITED = "RATE_LIMITED"  # 429 with Retry-After
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"  # 429 without
    INTERNAL = "INTERNAL"  # 500
    UNAVAILABLE = "UNAVAILABLE"  # 503
    OVERLOADED = "OVERLOADED"  # 503 with Retry-After
    NOT_JSON = "NOT_JSON"  # 502 of some proxy, in HTML
    INVALID_ARGUMENT = "INVALID_ARGUMENT"  # 400 for the payload
    UNREGISTERED = "UNREGISTERED"  # 404, this once
    UNAUTHENTICATED = "UNAUTHENTICATED"  # 401
    PERMISSION_DENIED = "PERMISSION_DENIED"  # 403 without an FcmError
    NOT_FOUND = "NOT_FOUND"  # 404 without an FcmError: a wrong project or address
    UNSPECIFIED = "UNSPECIFIED"  # 500 with UNSPECIFIED_ERROR
    TIMEOUT_BEFORE = "TIMEOUT_BEFORE"
    TIMEOUT_AFTER = "TIMEOUT_AFTER"
    RESET_BEFORE = "RESET_BEFORE"
    RESET_AFTER = "RESET_AFTER"
    GARBLED_AFTER = "GARBLED_AFTER"  # 200 with half a body


AFTER = frozenset({Fault.TIMEOUT_AFTER, Fault.RESET_AFTER, Fault.GARBLED_AFTER})

# fault -> (HTTP status, google.rpc status, FcmError.errorCode or None, message)
_ERRORS: Mapping[str, tuple[int, str, str | None, str]] = {
    Fault.RATE_LIMITED: (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded."),
    Fault.QUOTA_EXCEEDED: (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Device message rate exceeded."),
    Fault.INTERNAL: (500, "INTERNAL", "INTERNAL", "Internal error encountered."),
    Fault.UNAVAILABLE: (503, "UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable."),
    Fault.OVERLOADED: (503, "UNAVAILABLE", "UNAVAILABLE", "The server is overloaded."),
    Fault.UNREGISTERED: (404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."),
    Fault.UNAUTHENTICATED: (401, "UNAUTHENTICATED", None, "Invalid authentication credentials."),
    Fault.PERMISSION_DENIED: (403, "PERMISSION_DENIED", None, "Permission denied on the project."),
    Fault.NOT_FOUND: (404, "NOT_FOUND", None, "Requested entity was not found."),
    Fault.UNSPECIFIED: (500, "UNKNOWN", "UNSPECIFIED_ERROR", "Unknown error."),
    "stranger": (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"),
    "apple": (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "Auth error from APNS or Web Push Service"),
    "malformed": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
    ),
}
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def _answer(status: int, body: bytes, *headers: str, kind: str = "application/json; charset=UTF-8") -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _error(status: int, rpc_status: str, message: str, details: list[dict[str, Any]], *headers: str) -> bytes:
    error: dict[str, Any] = {"code": status, "message": message, "status": rpc_status}
    if details:
        error["details"] = details
    return _answer(status, orjson.dumps({"error": error}), *headers)


# What FCM takes: name -> type, or the members of an object. None: any JSON.
_STRINGS: Any = dict
_MESSAGE: Mapping[str, Any] = {
    "name": str,
    "data": _STRINGS,
    "notification": {"title": str, "body": str, "image": str},
    "android": {
        "collapse_key": str,
        "priority": str,
        "ttl": str,
        "restricted_package_name": str,
        "data": _STRINGS,
        "notification": None,
        "fcm_options": None,
        "direct_boot_ok": bool,
    },
    "webpush": {"headers": _STRINGS, "data": _STRINGS, "notification": None, "fcm_options": None},
    "apns": {"headers": _STRINGS, "payload": None, "fcm_options": None},
    "fcm_options": {"analytics_label": str},
    "token": str,
    "fid": str,
    "topic": str,
    "condition": str,
}
_TTL = re.compile(r"(\d{1,9})(?:\.\d{1,9})?s")
_RESERVED = re.compile(r"from$|message_type$|google\.|gcm")


class BadField(ValueError):
    """A field that FCM would refuse."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(description)
        self.field = field


def _check_members(value: Any, shape: Any, path: str) -> None:
    if shape is None:
        return
    if shape is dict:
        if not isinstance(value, dict):
            raise BadField(path, f"Invalid value at '{path}'")
        for name, member in value.items():
            if not isinstance(member, str):
                raise BadField(
                    f"{path}[{name}]", f"Invalid value at '{path}[0].value' (TYPE_STRING), {member}"
                )
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            raise BadField(path, f"Invalid value at '{path}'")
        for name, member in value.items():
            if name not in shape:
                raise BadField(path, f"Unknown name \"{name}\" at '{path}': Cannot find field.")
            _check_members(member, shape[name], f"{path}.{name}")
    elif not isinstance(value, shape):
        raise BadField(path, f"Invalid value at '{path}' (TYPE_{shape.__name__.upper()}), {value}")


def check_message(message: Any) -> tuple[str, str, dict[str, str]]:
    """Check a message as FCM does; give its token, the key by which the phone shows one, and its data.

    Raises: BadField.
    """
    _check_members(message, _MESSAGE, "message")
    targets = [name for name in ("token", "fid", "topic", "condition") if message.get(name)]
    if targets not in (["token"], ["fid"]):
        raise BadField("message", "Exactly one of token, fid, topic or condition must be set.")
    data: dict[str, str] = message.get("data", {})
    for name in data:
        if _RESERVED.match(name):
            raise BadField("message.data", f"Invalid data payload key: {name}")
    payload = orjson.dumps([data, message.get("notification", {})])
    if len(payload) > MAX_PAYLOAD:
        raise BadField("message", "Android message is too big")
    return message[targets[0]], _collapse_key(message), data


def _collapse_key(message: dict[str, Any]) -> str:
    android = message.get("android", {})
    if (ttl := android.get("ttl")) is not None:
        found = _TTL.fullmatch(ttl)
        if found is None or int(found[1]) > MAX_TTL_S:
            raise BadField("message.android.ttl", f"Invalid TTL: {ttl}")
    if android.get("priority", "normal").lower() not in {"normal", "high"}:
        raise BadField("message.android.priority", "Invalid value at 'message.android.priority'")
    headers = message.get("apns", {}).get("headers", {})
    apple_key = headers.get("apns-collapse-id", "")
    if len(apple_key.encode()) > 64:
        raise BadField("message.apns.headers", "apns-collapse-id is longer than 64 bytes")
    tag = (android.get("notification") or {}).get("tag") or android.get("collapse_key") or ""
    if tag and apple_key and tag != apple_key:
        raise BadField("message.apns.headers", "Android and Apple devices would collapse by different keys")
    return tag or apple_key


class Fcm:
    """The state of the server: the plan of faults, and what took effect."""

    def __init__(self, project: str) -> None:
        self.path = f"/v1/projects/{project}/messages:send".encode()
        self.project = project
        self.seed = 0
        self.faults: list[tuple[float, Fault]] = []
        self.retry_after_s: float = 1
        self.hang_s: float = 3600
        self.scripts: dict[str, list[Fault]] = {}
        self.unregistered: set[str] = set()
        self.authorization: str | None = None
        self.tokens_given = 0
        self.reset()

    def reset(self) -> None:
        """Forget what happened, keep the plan."""
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.effects: dict[tuple[str, str], list[Any]] = {}
        self.answers: Counter[str] = Counter()
        self.requests = 0

    def control(self, wish: Mapping[str, Any]) -> None:
        """Change the plan."""
        if wish.get("reset"):
            self.reset()
        self.seed = wish.get("seed", self.seed)
        self.retry_after_s = wish.get("retry_after_s", self.retry_after_s)
        self.hang_s = wish.get("hang_s", self.hang_s)
        self.authorization = wish.get("authorization", self.authorization)
        self.unregistered.update(wish.get("unregister", ()))
        for token, script in wish.get("scripts", {}).items():
            self.scripts[token] = [Fault(name) for name in script]
        if "faults" in wish:
            bound, self.faults = 0.0, []
            for name, rate in wish["faults"].items():
                bound += rate
                self.faults.append((bound, Fault(name)))
            if bound > 1:
                raise ValueError("the rates of all faults add up to more than 1")

    def plan(self, token: str, key: str) -> Fault | None:
        """Choose the fault of the next attempt to send this message to this token."""
        if script := self.scripts.get(token):
            return script.pop(0)
        if not self.faults:
            return None
        self.attempts[token, key] += 1
        text = f"{self.seed}\0{token}\0{key}\0{self.attempts[token, key]}".encode()
        point = int.from_bytes(blake2b(text, digest_size=7).digest()) / (1 << 56)
        return next((fault for bound, fault in self.faults if point < bound), None)

    def send(self, authorization: str, body: bytes) -> tuple[bytes | None, Fault | None]:
        """Handle one request: the answer, or None where there is none, and the fault that it met."""
        self.requests += 1
        if self.authorization is not None and authorization != self.authorization:
            return self._fail(Fault.UNAUTHENTICATED), Fault.UNAUTHENTICATED
        try:
            document = orjson.loads(body)
            if not isinstance(document, dict) or not isinstance(document.get("message"), dict):
                raise BadField("message", "Invalid JSON payload received.")
            if extra := set(document) - {"message", "validate_only"}:
                raise BadField("", f'Unknown name "{min(extra)}": Cannot find field.')
            token, key, data = check_message(document["message"])
        except BadField as error:
            return self._refuse(error.field, str(error)), Fault.INVALID_ARGUMENT
        except orjson.JSONDecodeError:
            return self._refuse("", "Invalid JSON payload received."), Fault.INVALID_ARGUMENT
        kind = token.partition("-")[0]
        if kind == "dead" or token in self.unregistered:
            return self._fail(Fault.UNREGISTERED), Fault.UNREGISTERED
        if kind in _ERRORS:
            return self._fail(kind), None
        fault = self.plan(token, key)
        if fault is None or fault in AFTER:
            if not document.get("validate_only"):
                self._count(token, key, data, lost=fault is not None)
            return self._succeed(fault), fault
        return self._fail(fault), fault

    def _count(self, token: str, key: str, data: dict[str, str], *, lost: bool) -> None:
        effect = self.effects.get((token, key))
        if effect is None:
            effect = self.effects[token, key] = [0, 0, data]
        effect[0] += 1
        effect[1] += lost

    def _succeed(self, fault: Fault | None) -> bytes | None:
        self.answers[fault or "SENT"] += 1
        if fault is Fault.GARBLED_AFTER:
            return _answer(200, b'{"name": "proj')
        if fault is not None:
            return None
        return _answer(200, b'{"name":"projects/%s/messages/%d"}' % (self.project.encode(), self.requests))

    def _refuse(self, field: str, message: str) -> bytes:
        self.answers[Fault.INVALID_ARGUMENT] += 1
        violation = {"field": field, "description": message}
        return _error(
            400, "INVALID_ARGUMENT", message, [{"@type": BAD_REQUEST, "fieldViolations": [violation]}]
        )

    def _fail(self, fault: str) -> bytes | None:
        if fault == Fault.INVALID_ARGUMENT:
            return self._refuse("message.android.ttl", "Invalid value at 'message.android.ttl'")
        self.answers[fault] += 1
        if fault in {Fault.TIMEOUT_BEFORE, Fault.RESET_BEFORE}:
            return None
        if fault == Fault.NOT_JSON:
            return _answer(502, b"<html>Bad Gateway</html>", kind="text/html")
        status, rpc_status, code, message = _ERRORS[fault]
        details = [{"@type": FCM_ERROR, "errorCode": code}] if code else []
        waits = fault in {Fault.RATE_LIMITED, Fault.OVERLOADED}
        headers = [f"retry-after: {self.retry_after_s:g}"] if waits else []
        return _error(status, rpc_status, message, details, *headers)


class Connection(asyncio.Protocol):
    """One connection; requests on it are answered one after the other."""

    def __init__(self, fcm: Fcm) -> None:
        self._fcm = fcm

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._authorization = ""
        self._body: list[bytes] = []
        self._size = 0

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._authorization = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MAX_BODY or self._url.startswith(b"/_"):
            self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        method, url, authorization, size = (
            self._parser.get_method(),
            self._url,
            self._authorization,
            self._size,
        )
        self._url, self._authorization, self._body, self._size = b"", "", [], 0
        if method == b"POST" and url == self._fcm.path:
            if size > MAX_BODY:
                self._transport.write(_error(413, "INVALID_ARGUMENT", "Request is too large", []))
            else:
                self._answer(*self._fcm.send(authorization, body))
        elif (found := self._introspect(method, url, body)) is not None:
            self._transport.write(_answer(200, orjson.dumps(found)))
        else:
            self._transport.write(_error(404, "NOT_FOUND", "Requested entity was not found.", []))

    def _introspect(self, method: bytes, url: bytes, body: bytes) -> object | None:
        fcm = self._fcm
        if (method, url) == (b"GET", b"/_effects"):
            return [[token, key, *effect] for (token, key), effect in fcm.effects.items()]
        if (method, url) == (b"POST", b"/token"):
            fcm.tokens_given += 1
            return {
                "access_token": f"token-{fcm.tokens_given}",
                "expires_in": 3600,
                "token_type": "Bearer",
            }
        if (method, url) == (b"GET", b"/_stats"):
            effects = sum(effect[0] for effect in fcm.effects.values())
            return {
                "requests": fcm.requests,
                "effects": effects,
                "answers": {str(name): n for name, n in fcm.answers.items()},
            }
        if (method, url) == (b"POST", b"/_control"):
            fcm.control(orjson.loads(body))
            return {}
        return None

    def _answer(self, answer: bytes | None, fault: Fault | None) -> None:
        if answer is not None:
            self._transport.write(answer)
        elif fault in {Fault.RESET_BEFORE, Fault.RESET_AFTER}:
            self._transport.abort()
        else:
            asyncio.get_running_loop().call_later(self._fcm.hang_s, self._transport.abort)


async def serve(fcm: Fcm, port: int) -> None:
    """Serve on the loopback until cancelled; say where."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(fcm), "127.0.0.1", port, backlog=1024
    )
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


class FcmServer:
    """A server in a process of its own; `url` is what the channel takes as endpoint."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        data = None if body is None else orjson.dumps(body)
        with urllib.request.urlopen(f"{self.url}{path}", data, timeout=60) as answer:
            return orjson.loads(answer.read())

    def control(self, **wish: Any) -> None:
        """Change the plan; see `POST /_control`."""
        self._call("/_control", wish)

    def effects(self) -> list[tuple[str, str, int, int, dict[str, str]]]:
        """List (token, collapse key, count, answers lost by the server's fault, data)."""
        return [tuple(effect) for effect in self._call("/_effects")]

    def counts(self) -> dict[tuple[str, str], int]:
        """Give how often each (token, collapse key) took effect."""
        return {(token, key): count for token, key, count, _, _ in self.effects()}

    def stats(self) -> dict[str, Any]:
        """Count requests, effects and answers."""
        return dict(self._call("/_stats"))


@contextmanager
def running_fcm_server(
    *,
    port: int = 0,
    project: str = "mintong-test",
    faults: Mapping[str, float] | None = None,
    seed: int = 0,
    command_prefix: Sequence[str] = (),
) -> Iterator[FcmServer]:
    """Start a server as a process of its own and end it afterwards."""
    command = [*command_prefix, sys.executable, "-m", "tests.notifications.fcm_server"]
    options = [f"--port={port}", f"--project={project}", f"--seed={seed}"]
    options.append(f"--faults={orjson.dumps(dict(faults or {})).decode()}")
    process = subprocess.Popen(
        command + options, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError("the FCM server did not start")
        yield FcmServer(process, line.removeprefix("listening on ").strip())
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--project", default="mintong-test")
    parser.add_argument("--faults", default="{}", help='JSON, for example {"INTERNAL": 0.01}')
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    fcm = Fcm(options.project)
    fcm.control({"faults": orjson.loads(options.faults), "seed": options.seed})
    uvloop.run(serve(fcm, options.port))


if __name__ == "__main__":
    main()
