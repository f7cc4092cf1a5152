"""The real application over sockets and real engines, with what uploads need to be sent byte by byte."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from api_harness import listening
from msgspec.structs import replace
from viewers_world import FAR

from api.app import Application, create_app
from api.documents import TrustedDocuments
from api.resources import Resources, open_resources
from domain.access import Assurance, Role, Viewer
from settings import Settings


def settings_for(mongodb_uri: str, redis_url: str, database: str, home: Path, **changes: Any) -> Settings:
    return Settings.model_validate(
        {
            "home": home,
            "MONGODB_URI": mongodb_uri,
            "REDIS_URL": redis_url,
            "database": database,
            "engine_timeout_ms": 30_000,
            "log_sample": 0,
            "trusted_proxies": "127.0.0.1",
            **changes,
        }
    )


class Tokens:
    """Takes the account from the token itself."""

    async def authenticate(self, authorization: bytes) -> Viewer:
        account = authorization.removeprefix(b"Bearer ").decode()
        return Viewer(account, f"session of {account}", frozenset({Role.CITIZEN}), Assurance.L1, FAR)


class Place:
    """A served application and a client of it."""

    def __init__(self, app: Application, url: str, settings: Settings) -> None:
        self.app = app
        self.url = url
        self.settings = settings
        self.http = httpx.Client(base_url=url, timeout=60)
        self.port = int(url.rpartition(":")[2])

    @property
    def resources(self) -> Resources:
        assert self.app._resources is not None
        return self.app._resources

    @property
    def spooled(self) -> list[Path]:
        root = self.settings.home / "uploads"
        return list(root.iterdir()) if root.exists() else []

    def upload(
        self, data: bytes, account: str | None = None, *, name: str = "photo.jpg", **headers: str
    ) -> httpx.Response:
        """Upload as `wx.uploadFile` does."""
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        if account is not None:
            given["authorization"] = f"Bearer {account}"
        else:
            given.setdefault("x-forwarded-for", some_address())
        form = {"file": (name, data, "image/jpeg")}
        return self.http.post("/media", files=form, data={"scene": "complaint"}, headers=given)

    def read(self, link: str, **headers: str) -> httpx.Response:
        return self.http.get(link, headers={key.replace("_", "-"): value for key, value in headers.items()})


@contextmanager
def serving_media(settings: Settings) -> Iterator[Place]:
    app = create_app(settings, trusted=TrustedDocuments({}), opener=_with_tokens)
    with listening(app) as url:
        place = Place(app, url, settings)
        with place.http:
            yield place


@asynccontextmanager
async def _with_tokens(settings: Settings) -> AsyncIterator[Resources]:
    async with open_resources(settings) as resources:
        yield replace(resources, authenticator=Tokens())  # type: ignore[type-var]


def some_address() -> str:
    """Limits last for longer than a test, so each upload comes from somewhere else."""
    return ".".join(str(part) for part in (10, *secrets.token_bytes(3)))


def some_account() -> str:
    return secrets.token_hex(12)


def code_of(response: httpx.Response) -> str:
    return str(response.json()["errors"][0]["extensions"]["code"])


def form_of(data: bytes, boundary: bytes = b"xxBOUNDARYxx") -> bytes:
    head = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' % boundary
    return head + data + b"\r\n--%b--\r\n" % boundary


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """Read one answer, as long as its Content-Length says; what came when the server closed before."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head + await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        return error.partial
    except ConnectionError:
        return b""


async def talk(port: int, head: list[str], pieces: Any, *, pause_s: float = 0.0) -> bytes:
    """Send a request as raw bytes and give the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(answer_of(reader))
    try:
        writer.write(("\r\n".join(["POST /media HTTP/1.1", "host: localhost", *head]) + "\r\n\r\n").encode())
        for piece in pieces:
            if answer.done():
                break
            writer.write(piece)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)
    except ConnectionError:
        pass
    try:
        async with asyncio.timeout(30):
            return await answer
    finally:
        await leave(writer)


async def leave(writer: asyncio.StreamWriter) -> None:
    """Go away, also when the server has not read everything: nothing is left for the garbage collector."""
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


def rss_bytes() -> int:
    """Memory of this process, in which the server runs."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
