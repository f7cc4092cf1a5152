"""The process that decodes what strangers send: one for each upload, bounded by the kernel.

`python -m store.media_cleaning JOB`, JOB being JSON of `CleaningJob`; writes JSON of `CleaningResult`. A
decoder that crashes, loops or asks for all memory takes nothing down but this process.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from domain.media import (
    Cleaned,
    MediaDamagedError,
    MediaFormat,
    MediaKind,
    MediaLimits,
    MediaTooLargeError,
    MediaTypeError,
    kind_of,
)

MEMORY_BYTES: Final = 1 << 30
"""Address space; 40 megapixels need about 700 MB, and an idle process has 155."""
CPU_S: Final = 60
FILE_BYTES: Final = 80_000_000
"""Largest file that is written: more than any video that is taken."""
_FILES: Final = 32
_NICENESS: Final = 10


class CleaningJob(Struct, frozen=True):
    """A file in a folder of its own, and where the results go: paths of this machine."""

    source: str
    target: str
    thumbnail: str
    format: MediaFormat
    limits: MediaLimits


class CleaningResult(Struct, frozen=True):
    """What was made, or the code of the refusal and its params. `reason` is for the log only."""

    cleaned: Cleaned | None = None
    refusal: str | None = None
    limit: str = ""
    reason: str = ""


def clean(job: CleaningJob) -> CleaningResult:
    """Clean a file; what is wrong with it comes back as a refusal."""
    # Loaded under the limits, and only what the file needs: a process lives for one upload.
    try:
        if kind_of(job.format) is MediaKind.IMAGE:
            from store.media_images import clean_image as work  # noqa: PLC0415
        else:
            from store.media_streams import clean_stream as work  # noqa: PLC0415
        paths = Path(job.source), Path(job.target), Path(job.thumbnail)
        return CleaningResult(work(paths[0], job.format, paths[1], paths[2], job.limits))
    except (MediaTypeError, MediaTooLargeError, MediaDamagedError) as error:
        limit, reason = str(error.params.get("limit", "")), str(error.params.get("reason", ""))
        return CleaningResult(refusal=error.code, limit=limit, reason=reason)
    except MemoryError:
        return CleaningResult(refusal=MediaDamagedError.code, reason="MemoryError")


def confine() -> None:
    """Bound this process: memory, processor time, sizes and numbers of files, no core dump, low priority."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    os.nice(_NICENESS)


def _main() -> None:
    confine()
    job = msgspec.json.decode(sys.argv[1], type=CleaningJob)
    sys.stdout.buffer.write(msgspec.json.encode(clean(job)))


if __name__ == "__main__":
    _main()
