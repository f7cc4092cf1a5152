"""Run every benchmark, one after the other, after naming the machine: `python -m bench [NAME…]`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

BENCHES = {
    "search": ["bench.search"],
    "search-million": ["bench.search", "--items", "1100000"],
    "import": ["bench.import_catalogue"],
    "complaint-reads": ["bench.complaint_reads"],
    "complaint-work": ["bench.complaint_work"],
    "complaint-submit": ["bench.complaint_submit"],
    "engine": ["bench.engine_execute"],
    "flood": ["bench.engine_flood"],
    "fanout": ["bench.fanout"],
    "http": ["bench.http"],
    "api": ["bench.api_process"],
    "live": ["bench.live"],
}
LIBRARIES = ("graphql-core", "strawberry-graphql", "uvicorn", "orjson", "numpy", "pymongo")


def describe_machine() -> str:
    """Say what the figures below were measured on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or "unknown processor",
    )
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores of {model}, load {load:.2f}, "
        f"Python {platform.python_version()}, {versions}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines() if Path(path).exists() else []


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; give the number of those that failed."""
    unknown = set(names) - set(BENCHES)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
        return 2
    print(describe_machine(), flush=True)
    failed = 0
    for name in names or BENCHES:
        print(f"\n== {name}: python -m {' '.join(BENCHES[name])}", flush=True)
        failed += subprocess.run([sys.executable, "-m", *BENCHES[name]], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
