"""A gateway for text messages, on loopback, that makes mistakes by plan and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

TAKEN = "202 Accepted"
RESET = ""
"""In place of a status: the connection is closed without an answer, after the message was read."""


@dataclass
class Asked:
    """What came with one call."""

    authorization: str
    key: str | None
    body: dict[str, Any]


@dataclass
class Gateway:
    """`plan` are the next statuses, with further header lines if need be; after them all are TAKEN."""

    url: str = ""
    plan: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def texts(self) -> list[tuple[str, str]]:
        """Give phones and texts in the order in which they came."""
        return [(each.body["phone"], each.body["text"]) for each in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one call as the plan says."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        pairs = (line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        key = headers.get("idempotency-key")
        self.asked.append(Asked(headers["authorization"], key, json.loads(body)))
        status = self.plan.pop(0) if self.plan else TAKEN
        if status != RESET:
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()


@asynccontextmanager
async def open_gateway(*plan: str) -> AsyncIterator[Gateway]:
    """Open a gateway on a free port of loopback."""
    gateway = Gateway(plan=list(plan))
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    async with server:
        gateway.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/send"
        yield gateway
