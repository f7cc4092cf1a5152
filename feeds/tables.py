"""Reading an operator's file as text: UTF-8, or GB 18030 as spreadsheets in China write it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from domain.tables import InvalidTableError

MAX_BYTES: Final = 64_000_000


def read_text(path: Path) -> str:
    """Read a whole file of 64 MB at most. Raises: domain.tables.InvalidTableError, OSError."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InvalidTableError(line=1, column="*", reason=f"the file has more than {MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    try:
        return data.decode("gb18030")
    except UnicodeDecodeError:
        raise InvalidTableError(line=line, column="*", reason="is neither UTF-8 nor GB 18030") from None
