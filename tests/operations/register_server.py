"""A register of residents, on loopback, that makes mistakes by plan and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

NAME, RESIDENT = "林小明", "350102199001011238"
RIGHT: Final = "right"
"""The answer that is due."""
STRANGER: Final = "stranger"
"""An answer to another question."""
SILENT: Final = "silent"
DROPS: Final = "drops"
"""An answer that never ends, a byte at a time."""
RESET: Final = "reset"


@dataclass
class Register:
    """`plan` are the next answers: words from above, or status and body; after them all are RIGHT."""

    url: str = ""
    plan: list[str | tuple[int, bytes]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one call as the plan says."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.lower().strip().split("\r\n")[1:])
        question = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.asked.append(question)
        self.tokens.add(headers["authorization"])
        answer = self.plan.pop(0) if self.plan else RIGHT
        try:
            await self._answer(answer, question, writer)
        except ConnectionError:
            pass  # the client has given up, as it should
        finally:
            writer.close()

    async def _answer(
        self, answer: str | tuple[int, bytes], question: dict[str, Any], writer: asyncio.StreamWriter
    ) -> None:
        if answer == SILENT:
            await asyncio.sleep(2)
        elif answer == DROPS:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
            for _ in range(20):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.1)
        elif answer in (RIGHT, STRANGER):
            is_match = (question["name"], question["residentId"]) == (NAME, RESIDENT)
            request = question["requestId"] if answer == RIGHT else "0" * 32
            await _write(writer, 200, json.dumps({"requestId": request, "match": is_match}).encode())
        elif isinstance(answer, tuple):
            await _write(writer, *answer)


async def _write(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


@asynccontextmanager
async def open_register_server(*plan: str | tuple[int, bytes]) -> AsyncIterator[Register]:
    """Open a register on a free port of loopback."""
    register = Register(plan=list(plan))
    server = await asyncio.start_server(register.serve, "127.0.0.1", 0)
    async with server:
        register.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/residents"
        yield register
