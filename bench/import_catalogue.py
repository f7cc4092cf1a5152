"""Import the demo catalogue into an embedded engine: items a second beside raw inserts, and peak memory.

    python -m bench.import_catalogue [--items N]

Raw inserts of the very documents that the import wrote, into the same engine in the same run, tell how fast
the engine is here. The importer's memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from feeds.catalogue_import import import_catalogue
from feeds.demo.catalogue import count_rows, generate_to_file
from store.catalogue import CatalogueStore
from store.connections import open_mongodb
from store.engines import EmbeddedEngines

TIMEOUT_MS = 60_000


async def import_once(uri: str, path: Path, *, full: bool) -> None:
    """Import in this process and print what it took as JSON."""
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        begun = time.perf_counter()
        report = await import_catalogue(path, "national", CatalogueStore(client["bench"]), full=full)
        elapsed = time.perf_counter() - begun
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([report.lines, report.imported, elapsed, peak_mb]))


async def in_own_process(uri: str, path: Path, *, full: bool) -> tuple[int, int, float, float]:
    """Import in a process of its own; give lines, rows written, seconds and peak MB."""
    options = ["--engine", uri, "--file", str(path), *(["--full"] if full else [])]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.import_catalogue", *options, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    lines, imported, elapsed, peak_mb = json.loads(output)
    return lines, imported, elapsed, peak_mb


async def raw_inserts(uri: str, count: int) -> float:
    """Insert the documents that were imported into another collection; give documents a second."""
    async with open_mongodb(uri, TIMEOUT_MS) as client:
        database = client["bench"]
        documents = await database["service_items"].find({}, limit=count).to_list()
        begun = time.perf_counter()
        rest = iter(documents)
        while batch := list(islice(rest, 1000)):
            await database["raw"].insert_many(batch, ordered=False)
        return len(documents) / (time.perf_counter() - begun)


async def compare(items: int | None) -> None:
    """Run everything and print the table."""
    table = Table("", "rows", "written", "seconds", "items/s", "peak MB")
    with tempfile.TemporaryDirectory(prefix="mintong-bench-") as folder:
        path = Path(folder) / "demo.jsonl"
        begun = time.perf_counter()
        count = generate_to_file(path, limit=items)
        elapsed = time.perf_counter() - begun
        size = path.stat().st_size / count
        table.add_row("generate", f"{count:,}", f"{count:,}", f"{elapsed:.1f}", f"{count / elapsed:,.0f}", "")
        async with EmbeddedEngines(Path(folder) / "home", redis=False) as engines:
            uri = engines.mongodb_uri
            for name, full in (("first import", False), ("the same again, full", True)):
                lines, written, elapsed, peak = await in_own_process(uri, path, full=full)
                rate = f"{lines / elapsed:,.0f}"
                table.add_row(name, f"{lines:,}", f"{written:,}", f"{elapsed:.1f}", rate, f"{peak:.0f}")
            raw = await raw_inserts(uri, min(count, 30_000))
            table.add_row("raw insert_many", "", f"{min(count, 30_000):,}", "", f"{raw:,.0f}", "")
    console = Console(width=100)
    console.print(f"{count:,} rows of the demo's {count_rows():,}, {size:,.0f} bytes of JSON each")
    console.print(table)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, help="this many of the demo's items; all by default")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        asyncio.run(import_once(options.engine, options.file, full=options.full))
    else:
        asyncio.run(compare(options.items))


if __name__ == "__main__":
    main()
