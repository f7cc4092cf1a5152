"""Cleaned files in GridFS, `media_files`: named by their SHA-256, kept once for all that use them.

A file that is wanted again while it is being removed must not vanish. Whoever wants it touches it; removing
marks only what was not touched for an hour, then looks once more who uses it, and removes what it has marked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bson import ObjectId
from gridfs.asynchronous import AsyncGridFSBucket
from gridfs.errors import NoFile
from msgspec import Struct
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

Document = dict[str, Any]
TOUCHED_FOR: Final = timedelta(hours=1)
_CHUNK_BYTES: Final = 1 << 20


class StoredFile(Struct, frozen=True):
    """A file in the store; sizes in bytes."""

    id: ObjectId
    size_bytes: int
    chunk_bytes: int


class MediaFiles:
    """Reads and writes files."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._bucket = AsyncGridFSBucket(database, "media_files", chunk_size_bytes=_CHUNK_BYTES)
        self._files = database["media_files.files"]
        self._chunks = database["media_files.chunks"]

    async def ensure_indexes(self) -> None:
        """Make the indexes, as GridFS's specification names their fields."""
        await self._files.create_index([("filename", ASCENDING), ("uploadDate", ASCENDING)], name="filename")
        await self._chunks.create_index([("files_id", ASCENDING), ("n", ASCENDING)], name="part", unique=True)

    async def put(self, digest: str, path: Path, file_id: ObjectId, *, now: datetime) -> None:
        """Keep a file under its SHA-256; as `file_id`, unless it is there already."""
        touched = await self._files.update_one(
            {"filename": digest, "metadata.condemned": None}, {"$set": {"metadata.touched_at": now}}
        )
        if touched.matched_count:
            return
        source = await asyncio.to_thread(path.open, "rb")
        with source:
            async with self._bucket.open_upload_stream_with_id(
                file_id, digest, metadata={"touched_at": now}
            ) as target:
                while data := await asyncio.to_thread(source.read, _CHUNK_BYTES):
                    await target.write(data)

    async def find(self, digest: str) -> StoredFile | None:
        """Find a file by its SHA-256."""
        query = {"filename": digest, "metadata.condemned": None}
        document = await self._files.find_one(query, {"length": 1, "chunkSize": 1})
        if document is None:
            return None
        return StoredFile(document["_id"], document["length"], document["chunkSize"])

    async def read(self, file: StoredFile, first: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `first` until before `end`, a megabyte at a time.

        Raises: EOFError when a part is missing, because the file was removed meanwhile.
        """
        size = file.chunk_bytes
        for number in range(first // size, -(-end // size)):
            chunk = await self._chunks.find_one({"files_id": file.id, "n": number}, {"data": 1})
            if chunk is None:
                raise EOFError
            start = number * size
            yield bytes(chunk["data"][max(0, first - start) : end - start])

    async def remove(self, digest: str, is_used: Callable[[], Awaitable[bool]], *, now: datetime) -> bool:
        """Remove a file that nobody uses; False when it was touched so shortly ago that it must wait."""
        condemned = {"filename": digest, "metadata.condemned": True}
        await self._files.update_many(
            {"filename": digest, "metadata.touched_at": {"$lte": now - TOUCHED_FOR}},
            {"$set": {"metadata.condemned": True}},
        )
        if await is_used():
            await self._files.update_many(condemned, {"$unset": {"metadata.condemned": ""}})
            return True
        for document in await self._files.find(condemned, {"_id": 1}).to_list():
            await self._delete(document["_id"])
        return await self._files.find_one({"filename": digest}, {"_id": 1}) is None

    async def remove_unfinished(self, file_ids: Iterable[ObjectId]) -> None:
        """Remove the parts of files whose writer died; finished files stay."""
        for file_id in file_ids:
            if await self._files.find_one({"_id": file_id}, {"_id": 1}) is None:
                await self._chunks.delete_many({"files_id": file_id})

    async def _delete(self, file_id: ObjectId) -> None:
        try:
            await self._bucket.delete(file_id)
        except NoFile:
            return  # another worker was faster
