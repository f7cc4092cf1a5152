"""Start the whole system twice on an empty home: seconds to ready, memory of an API process under queries.

    python -m bench.api_process [--home DIRECTORY]

The first start makes and imports the demo province. The floor beside the second start is a process that only
imports the API's modules.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

QUERY = """
query ($text: String!, $division: String) {
  searchServiceItems(text: $text, filter: { divisionCode: $division }) {
    totalCount
    facets { categories { value count } departments { value count } }
    edges { node { id name materials { name } legalBases { law article } department { name } } }
  }
}
"""
DIVISIONS = (None, "350102", "350203", "350500", "350128")
READY_WITHIN_S = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def system(home: Path) -> Iterator[tuple[str, float]]:
    """Run `mintong run` and give its address and the seconds until it was ready."""
    port = free_port()
    environment = {**os.environ, "MINTONG_HOME": str(home), "MINTONG_PORT": str(port)}
    started = time.monotonic()
    command = [sys.executable, "-m", "cli.main", "run"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            if process.poll() is not None or time.monotonic() - started > READY_WITHIN_S:
                raise SystemExit(f"mintong run was not ready (status {process.returncode})")
            try:
                if httpx.get(f"{address}/readyz", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield address, time.monotonic() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def resident_mb(address: str) -> float:
    """Read the resident memory of the API process from its own metrics."""
    port = address.rpartition(":")[2]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"api" in command and f"MINTONG_PORT={port}".encode() in environment:
            status = (entry / "status").read_text("utf-8")
            return int(status.partition("VmRSS:")[2].split()[0]) / 1024
    raise SystemExit("found no API process")


def ask(address: str) -> int:
    """Send every query of the list from several divisions; give the number of answers."""
    lines = (Path(__file__).with_name("queries.txt")).read_text("utf-8").splitlines()
    answers = 0
    with httpx.Client(timeout=10) as client:
        for text in (line for line in lines if line and not line.startswith("#")):
            for division in DIVISIONS:
                body = {"query": QUERY, "variables": {"text": text, "division": division}}
                answer = client.post(f"{address}/graphql", json=body).json()
                if "errors" in answer:
                    raise SystemExit(json.dumps(answer["errors"], ensure_ascii=False))
                answers += 1
    return answers


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, help="an existing home is only started, not filled")
    given = parser.parse_args().home
    with tempfile.TemporaryDirectory(prefix="mintong-bench-") as temporary:
        home = given or Path(temporary)
        with system(home) as (_, first_s):
            pass
        with system(home) as (address, second_s):
            fresh_mb = resident_mb(address)
            answers = ask(address)
            used_mb = resident_mb(address)
        begun = time.monotonic()
        subprocess.run([sys.executable, "-c", "import api.app, cli.main"], check=True)
        floor_s = time.monotonic() - begun
    print(f"first start to ready        {first_s:7.1f} s")
    print(f"second start to ready       {second_s:7.1f} s")
    print(f"importing the modules only  {floor_s:7.1f} s")
    print(f"API process, just started   {fresh_mb:7.1f} MB resident")
    print(f"after {answers:5d} search pages    {used_mb:7.1f} MB resident")


if __name__ == "__main__":
    main()
