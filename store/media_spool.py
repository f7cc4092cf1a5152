"""Where an upload lies while it arrives and is cleaned: a folder of its own on this machine's disk."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from domain.media import HEAD_BYTES

_BUFFER_BYTES: Final = 1 << 18
_STALE_S: Final = 3_600.0


class Spool:
    """A file that is being received, and room beside it for what cleaning makes of it."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.target = folder / "target"
        self.thumbnail = folder / "thumbnail"
        self.size = 0
        self._hash = hashlib.sha256()
        self._head = b""
        self._buffer = bytearray()

    @property
    def head(self) -> bytes:
        """Give the first bytes, at most `HEAD_BYTES`, that have arrived."""
        return self._head

    @property
    def digest(self) -> str:
        """Give the SHA-256 of what was written to the disk, in hexadecimal."""
        return self._hash.hexdigest()

    async def write(self, data: bytes) -> None:
        """Append bytes; about a quarter of a megabyte of them is held in memory."""
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self.size += len(data)
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write to the disk what is held in memory."""
        data, self._buffer = self._buffer, bytearray()
        await asyncio.to_thread(self._append, data)

    def _append(self, data: bytearray) -> None:
        self._hash.update(data)
        with self.source.open("ab") as file:
            file.write(data)


@asynccontextmanager
async def open_spool(root: Path) -> AsyncIterator[Spool]:
    """Make a folder for one upload below `root`; it is gone afterwards."""
    folder = await asyncio.to_thread(_make, root)
    try:
        yield Spool(folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def remove_stale(root: Path) -> int:
    """Remove the folders of uploads whose process died over an hour ago; count them. Blocks."""
    if not root.exists():
        return 0
    stale = [path for path in root.iterdir() if path.stat().st_mtime < time.time() - _STALE_S]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return len(stale)


def digest_of(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal. Blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(dir=root))
