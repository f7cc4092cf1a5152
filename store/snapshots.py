"""Snapshot archives in GridFS: how a built catalogue reaches the API processes of other machines."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from gridfs.asynchronous import AsyncGridFSBucket
from gridfs.errors import NoFile
from pymongo.asynchronous.database import AsyncDatabase

from domain.errors import DomainError

_KEPT = 2
_CHUNK_BYTES = 1 << 20


class SnapshotMissingError(DomainError):
    """The store holds no archive of that version."""

    code = "SNAPSHOT_MISSING"


def _bucket(database: AsyncDatabase[dict[str, Any]]) -> AsyncGridFSBucket:
    return AsyncGridFSBucket(database, bucket_name="snapshots", chunk_size_bytes=_CHUNK_BYTES)


def _name(version: int) -> str:
    return f"catalogue-{version}.tar"


async def save(database: AsyncDatabase[dict[str, Any]], version: int, directory: Path) -> None:
    """Save a snapshot directory as an archive, and drop all but the newest two versions."""
    bucket = _bucket(database)
    archive = Path(f"{directory}.tar.part")
    try:
        await asyncio.to_thread(_pack, directory, archive)
        source = await asyncio.to_thread(archive.open, "rb")
        with source:
            async with bucket.open_upload_stream(_name(version), metadata={"version": version}) as target:
                while chunk := await asyncio.to_thread(source.read, _CHUNK_BYTES):
                    await target.write(chunk)
    finally:
        await asyncio.to_thread(archive.unlink, missing_ok=True)
    saved = [(file.metadata["version"], file._id) async for file in bucket.find({})]
    kept = set(sorted({number for number, _ in saved}, reverse=True)[:_KEPT])
    newest = dict(sorted(saved, key=lambda pair: str(pair[1])))
    for number, file_id in saved:
        if number not in kept or newest[number] != file_id:
            await bucket.delete(file_id)


def _pack(directory: Path, archive: Path) -> None:
    with tarfile.open(archive, "w") as tar:
        for path in sorted(directory.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(directory)), recursive=False)


async def load(database: AsyncDatabase[dict[str, Any]], version: int, directory: Path) -> None:
    """Fetch an archive into `directory`, which appears complete or not at all.

    Raises: SnapshotMissingError.
    """
    work = await asyncio.to_thread(_work_directory, directory)
    try:
        try:
            source = await _bucket(database).open_download_stream_by_name(_name(version))
        except NoFile as error:
            raise SnapshotMissingError(version=version) from error
        target = await asyncio.to_thread((work / "archive.tar").open, "wb")
        with target:
            while chunk := await source.read(_CHUNK_BYTES):
                await asyncio.to_thread(target.write, chunk)
        await asyncio.to_thread(_unpack, work / "archive.tar", work / "content", directory)
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


def _work_directory(directory: Path) -> Path:
    directory.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))


def _unpack(archive: Path, content: Path, directory: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(content, filter="data")
    if not directory.exists():
        content.rename(directory)
