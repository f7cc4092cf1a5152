"""A bounded, even load of reads over kept connections, and what went wrong."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self


class Load:
    """Sends `rate` requests a second from `begin` to the end of the context, spread over the ports.

    An answer counts as failed unless it is a 200 with data and without errors; `failures` by what was wrong.
    """

    def __init__(self, ports: Sequence[int], bodies: Sequence[bytes], *, rate: int, connections: int) -> None:
        self._ports = ports
        self._requests = [_request(body) for body in bodies]
        self._interval_s = connections / rate
        self._connections = connections
        self._tasks: list[asyncio.Task[None]] = []
        self.failures: Counter[str] = Counter()
        self.answered = 0
        self.slowest_s = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self) -> None:
        """Start to send."""
        for number in range(self._connections):
            port = self._ports[number % len(self._ports)]
            self._tasks.append(asyncio.create_task(self._send_all(port, number)))

    async def _send_all(self, port: int, number: int) -> None:
        due = time.monotonic() + number * self._interval_s / self._connections
        requests = itertools.islice(itertools.cycle(self._requests), number, None)
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError as error:
                self.failures[type(error).__name__] += 1
                await asyncio.sleep(0.1)
                continue
            try:
                for request in requests:
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    # Whoever fell behind does not catch up: the load stays even.
                    due = max(due, time.monotonic() - self._interval_s) + self._interval_s
                    await self._send(reader, writer, request)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.failures[type(error).__name__] += 1
            finally:
                writer.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        started = time.monotonic()
        async with asyncio.timeout(5):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)
        if not head.startswith(b"http/1.1 200 "):
            self.failures[head.partition(b"\r\n")[0].decode()] += 1
        elif not body.startswith(b'{"data":{"') or b'"errors"' in body:
            self.failures[body[:80].decode(errors="replace")] += 1
        self.answered += 1


def _request(body: bytes) -> bytes:
    head = (
        "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"accept: application/graphql-response+json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
