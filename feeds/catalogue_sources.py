"""Where rows come from: files, folders, addresses, a generator; each with a fingerprint for going on."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from domain.errors import DomainError
from feeds.catalogue_mapping import Mapping
from feeds.catalogue_rows import SUFFIXES, RawRow, UnreadableFileError, read_rows

MAX_DOWNLOAD_BYTES = 4 << 30
MAX_DOWNLOAD_S = 3600.0
_ADDRESS = re.compile("https?://", re.IGNORECASE)
_MEDIA_TYPES = {
    "text/csv": ".csv",
    "application/json": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}


class SourceError(DomainError):
    """A source that cannot be read; `reason` says why."""

    code = "SOURCE_UNAVAILABLE"


class Source(Protocol):
    """Files of rows, read one after the other."""

    names: list[str]
    sizes: list[int | None]  # in the unit of RawRow.position, None where unknown
    fingerprint: str

    def rows(self, index: int, *, start: int, line: int) -> Iterator[RawRow]:
        """Stream the rows of one file from a position on."""
        ...


class FileSource:
    """A file, or all files of a folder with a known suffix, in the order of their names."""

    def __init__(self, path: Path, mapping: Mapping, *, name: str = "", fingerprint: str = "") -> None:
        self._mapping = mapping
        self._paths = _files(path)
        self.names = [name or str(each) for each in self._paths]
        stats = [each.stat() for each in self._paths]
        for each, stat in zip(self._paths, stats, strict=True):
            if stat.st_size == 0:
                raise UnreadableFileError(file=str(each), reason="the file is empty")
        self.sizes = [
            stat.st_size if each.suffix.lower() not in (".csv", ".xlsx") else None
            for each, stat in zip(self._paths, stats, strict=True)
        ]
        facts = [
            (str(each.resolve()), stat.st_size, stat.st_mtime_ns)
            for each, stat in zip(self._paths, stats, strict=True)
        ]
        self.fingerprint = fingerprint or blake2b(repr(facts).encode(), digest_size=16).hexdigest()

    def rows(self, index: int, *, start: int, line: int) -> Iterator[RawRow]:
        """Stream the rows of one file from a position on."""
        return read_rows(self._paths[index], self.names[index], self._mapping, start=start, line=line)


class GeneratedSource:
    """Rows that a function yields anew, the same each time; `fingerprint` names them."""

    def __init__(
        self,
        name: str,
        generate: Callable[[], Iterator[dict[str, Any]]],
        *,
        fingerprint: str,
        size: int | None = None,
    ) -> None:
        self._generate = generate
        self.names = [name]
        self.sizes = [size]
        self.fingerprint = fingerprint

    def rows(self, index: int, *, start: int, line: int) -> Iterator[RawRow]:
        """Stream the rows from a position on."""
        del index, line
        rows = (RawRow(number, number, row) for number, row in enumerate(self._generate(), 1))
        return (row for row in rows if row.position > start)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
        if not found:
            raise SourceError(source=str(path), reason=f"no file with a suffix of {', '.join(SUFFIXES)}")
        return found
    if not path.is_file():
        raise SourceError(source=str(path), reason="no such file or folder")
    if path.suffix.lower() not in SUFFIXES:
        reason = f"suffix {path.suffix!r} is none of {', '.join(SUFFIXES)}"
        raise UnreadableFileError(file=str(path), reason=reason)
    return [path]


@asynccontextmanager
async def open_source(source: str | Path | Source, mapping: Mapping, work: Path) -> AsyncIterator[Source]:
    """Open a path, an http(s) address or a ready source; what is downloaded lies in `work`.

    Raises: SourceError, UnreadableFileError.
    """
    if isinstance(source, str) and _ADDRESS.match(source):
        path = await _download(source, work)
        content = await asyncio.to_thread(_hash_file, path)
        yield FileSource(path, mapping, name=source, fingerprint=content)
    elif isinstance(source, str | Path):
        yield FileSource(Path(source), mapping)
    else:
        yield source


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


async def _download(address: str, work: Path) -> Path:
    """Fetch an address into `work`, bounded in size and time."""
    deadline = time.monotonic() + MAX_DOWNLOAD_S
    timeout = httpx.Timeout(60, connect=15)
    try:
        async with (
            httpx.AsyncClient(follow_redirects=True, max_redirects=5, timeout=timeout) as client,
            client.stream("GET", address) as response,
        ):
            response.raise_for_status()
            path = work / f"download{_suffix(response)}"
            size = 0
            target = await asyncio.to_thread(path.open, "wb")
            with target:
                async for chunk in response.aiter_bytes(1 << 18):
                    size += len(chunk)
                    if size > MAX_DOWNLOAD_BYTES:
                        raise SourceError(source=address, reason=f"more than {MAX_DOWNLOAD_BYTES} bytes")
                    if time.monotonic() > deadline:
                        raise SourceError(source=address, reason=f"not complete after {MAX_DOWNLOAD_S:.0f} s")
                    await asyncio.to_thread(target.write, chunk)
    except httpx.HTTPStatusError as error:
        raise SourceError(
            source=address, reason=f"the server answered {error.response.status_code}"
        ) from error
    except httpx.HTTPError as error:
        raise SourceError(source=address, reason=str(error) or type(error).__name__) from error
    return path


def _suffix(response: httpx.Response) -> str:
    suffix = Path(urlsplit(str(response.url)).path).suffix.lower()
    if suffix in SUFFIXES:
        return suffix
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        reason = f"media type {media_type or 'not given'}; JSON lines, CSV or XLSX are wanted"
        raise SourceError(source=str(response.url), reason=reason)
    return _MEDIA_TYPES[media_type]
