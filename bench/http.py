"""Requests per second over HTTP on the loopback, beside a floor and the peers, all in one run.

    python -m bench.http [--page items|search] [--seconds S] [--rounds N] [--only TEXT …]

A page of 20 items, 12 scalars each, with their department and division, pages at random. Each server is one
process on one core, the load generator (wrk, one thread, kept-alive connections) has the other; rounds are
short and interleaved, and all servers but the one whose round it is are stopped. Rates are medians of the
rounds, their ratios medians of the ratios within each round, as the machine may change from one to the next;
percentiles are those of all requests of all rounds. The floor is a starlette endpoint that returns the ready
bytes of a page; the two bare servers return them with the house's headers and nothing else: what a way in
costs by itself. Before anything is measured, the answers of all contenders are compared. `--page search`
measures the house alone on its own search.

A page is 7.8 KB of JSON: with its head it fits into the 8 KB that wrk reads at once. For more than that wrk
makes three calls of the kernel instead of one, and has no core left to ask for stored answers.

The first round of each comes just after its start and is not among the others: "first p99" is what those see
who come then, as engines with a compiler of their own are still warming up.

Requests per second suffer when other work runs on the server's core; "µs of CPU" (the server's, for one
request) does so less, "busy" says how much of its core the server got, and "load" how much of the other one
the generator used: where that is near 100%, the server could do more than was asked of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from api.documents import document_hash
from bench import pages
from bench.__main__ import describe_machine
from bench.catalogues import build_demo
from bench.http_servers import (
    COMPILED,
    ENGINE_OFF,
    FLOOR,
    FRAGMENTS,
    HOUSE,
    READY,
    RESPONSES,
    SEARCH,
    STRAWBERRY,
    TUNED,
)
from loaders.catalogue_snapshot import CatalogueSnapshot, SearchQuery
from settings import HttpProtocol

NODE = Path(__file__).with_name("node")
LOAD = Path(__file__).with_name("http_load.lua")
HEADERS = {
    "content-type": "application/json",
    "accept": "application/graphql-response+json, application/json;q=0.9",
    "accept-encoding": "identity",
}
CHECKED = 100
START_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Contender(Struct, frozen=True):
    """A server, started by a command that takes the port last, and the bodies to send it."""

    name: str
    command: list[str]
    bodies: list[bytes]


class Round(Struct, frozen=True):
    """What one round of one contender gave."""

    rate: float
    latencies: Counter[int]
    """How often each latency was seen, in microseconds."""
    cpu_us: float
    busy: float
    load: float


class Running(Struct):
    """A started server, its bodies in a file, and its rounds so far, the first just after its start."""

    contender: Contender
    process: subprocess.Popen[bytes]
    port: int
    bodies: Path
    rounds: list[Round]

    def median(self, of: Callable[[Round], float]) -> float:
        """Give the median of a figure over the rounds but the first."""
        return statistics.median(map(of, self.rounds[1:]))

    def ratio(self, of: Callable[[Round], float], other: Running) -> float:
        """Give the median of a figure's ratio to another server's of the same round, the first left out."""
        pairs = zip(self.rounds[1:], other.rounds[1:], strict=True)
        return statistics.median(of(mine) / of(theirs) for mine, theirs in pairs)

    def first_ms(self, percent: int) -> float:
        """Give a percentile of the latencies of the first round."""
        return percentile_ms(self.rounds[0].latencies, percent)

    def warm_ms(self, percent: int) -> float:
        """Give a percentile of the latencies of all rounds but the first."""
        return percentile_ms(sum((each.latencies for each in self.rounds[1:]), Counter()), percent)


def percentile_ms(latencies: Counter[int], percent: int) -> float:
    """Give the least latency that so many percent do not exceed."""
    below = accumulate(latencies[each] for each in sorted(latencies))
    enough = latencies.total() * percent / 100
    return next(each for each, seen in zip(sorted(latencies), below, strict=True) if seen >= enough) / 1000


# --- contenders -------------------------------------------------------------------------------------------


def python_server(name: str, page: str, directory: Path, bodies: list[bytes]) -> Contender:
    command = [sys.executable, "-m", "bench.http_servers", name, "--page", page]
    return Contender(name, [*command, "--directory", str(directory), "--port"], bodies)


def item_contenders(directory: Path) -> list[Contender]:
    """List everybody who serves the page of items."""
    trusted = [pages.trusted_body(offset) for offset in pages.OFFSETS]
    texts = [pages.text_body(offset) for offset in pages.OFFSETS]
    persisted = [pages.persisted_body(offset) for offset in pages.OFFSETS]
    names = [name for name in HOUSE if not name.endswith(ENGINE_OFF)]
    found = [python_server(name, "items", directory, trusted) for name in READY]
    found += [python_server(name, "items", directory, trusted) for name in names]
    found += [python_server(name, "items", directory, texts) for name in (TUNED, STRAWBERRY)]
    if reason := install_node():
        print(f"WITHOUT MERCURIUS: {reason}")
        return found
    pages.export(directory / "data.json")
    for variant in ("loaders", "dataloader", "direct"):
        for way, bodies in (("text", texts), ("persisted", persisted)):
            command = ["node", str(NODE / "server.mjs"), str(directory / "data.json"), variant]
            found.append(Contender(f"mercurius + JIT, {variant}, {way}", command, bodies))
    return found


def install_node() -> str | None:
    """Install what the lock file says unless it is there; say why that is impossible."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "Node.js and npm are not installed"
    lock, installed = NODE / "package-lock.json", NODE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return None
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"npm cannot install it: {done.stderr.strip()[-300:]}"


def search_contenders(directory: Path) -> list[Contender]:
    """List the house's ways to serve its own search."""
    build_demo(directory / "catalogue", items=20_000)
    bodies = search_bodies(CatalogueSnapshot.open(directory / "catalogue"))
    return [python_server(name, "search", directory, bodies) for name in (*READY, *HOUSE)]


def search_bodies(snapshot: CatalogueSnapshot) -> list[bytes]:
    """Give the requests for some hundred pages found by search."""
    bodies = []
    document = f"sha256:{document_hash(SEARCH)}"
    for text in ("", "登记", "许可", "证", "医疗保险", "社会保障", "驾驶证", "公证"):
        after: str | None = None
        for _ in range(40):
            variables = {"text": text, "after": after}
            bodies.append(json.dumps({"documentId": document, "variables": variables}).encode())
            page = snapshot.search(SearchQuery(text, first=20, after=after)).page_info
            after = page.end_cursor
            if not page.has_next_page:
                break
    return bodies


# --- servers ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(contender: Contender, core: int, directory: Path) -> Iterator[Running]:
    """Run a contender's server on a core of its own until the context ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["taskset", "-c", str(core), *contender.command, str(port)]
    process = subprocess.Popen(command, env={**os.environ, "NODE_ENV": "production"})
    bodies = directory / f"{port}.bodies"
    bodies.write_bytes(b"\n".join(contender.bodies) + b"\n")
    try:
        deadline = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{contender.name}: the server did not start")
            time.sleep(0.05)
        yield Running(contender, process, port, bodies, [])
    finally:
        process.terminate()
        process.send_signal(signal.SIGCONT)
        process.wait()


def answers(running: Running) -> list[Any]:
    """Ask for pages spread over all of them; give the answers, the order of names included."""
    bodies = running.contender.bodies
    found = []
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False, timeout=30) as client:
        for body in bodies[:: max(1, len(bodies) // CHECKED)]:
            response = client.post("/graphql", content=body, headers=HEADERS)
            assert response.status_code == 200, f"{running.contender.name}: {response.text[:500]}"
            found.append(json.loads(response.content, object_pairs_hook=list))
    return found


def cpu_s(pid: int) -> float:
    """Read the processor time that a process used so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def load(running: Running, seconds: float, connections: int, core: int, seed: int) -> Round:
    """Load one server from one core."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    command += ["-s", str(LOAD), f"http://127.0.0.1:{running.port}/graphql", "--"]
    before, children = cpu_s(running.process.pid), os.times()
    done = subprocess.run(
        [*command, str(running.bodies), str(seed)], capture_output=True, text=True, check=True
    )
    spent, now = cpu_s(running.process.pid) - before, os.times()
    used = now.children_user + now.children_system - children.children_user - children.children_system
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["failed"] == 0, f"{running.contender.name}: {result}"
    taken, requests = result["micros"] / 1e6, result["requests"]
    return Round(
        requests / taken,
        Counter(dict(result["latencies"])),
        spent * 1e6 / requests,
        spent / taken,
        used / taken,
    )


def measure(contenders: list[Contender], options: argparse.Namespace, directory: Path) -> list[Running]:
    """Start all servers, compare their answers, then load one after the other, round by round."""
    cores = sorted(os.sched_getaffinity(0))
    server, generator = cores[0], cores[-1]
    with contextlib.ExitStack() as stack:
        house = next(each for each in contenders if each.name not in READY)
        with started(house, server, directory) as first:
            expected = answers(first)
            url = f"http://127.0.0.1:{first.port}/graphql"
            reply = httpx.post(url, content=house.bodies[0], headers=HEADERS, trust_env=False)
            (directory / "body.json").write_bytes(reply.content)
        everybody = [stack.enter_context(started(each, server, directory)) for each in contenders]
        for running in everybody:
            if running.contender.name not in READY:
                assert answers(running) == expected, f"{running.contender.name} answers differently"
        for running in everybody:
            running.process.send_signal(signal.SIGSTOP)
        for seed in range(options.rounds + 1):
            for running in everybody:
                running.process.send_signal(signal.SIGCONT)
                running.rounds.append(load(running, options.seconds, options.connections, generator, seed))
                running.process.send_signal(signal.SIGSTOP)
    size = len((directory / "body.json").read_bytes())
    print(f"{len(house.bodies)} pages of 20, an answer has {size} bytes; equal from all contenders")
    return everybody


# --- the tables -------------------------------------------------------------------------------------------


def print_table(results: list[Running]) -> None:
    titles = ("requests/s", "of the floor", "p50 ms", "p99 ms", "first p99", "µs of CPU", "busy", "load")
    print(f"{'':38}" + "".join(f"{title:>13}" for title in titles))
    for running in results:
        figures = (
            f"{running.median(lambda each: each.rate):,.0f}",
            f"{running.ratio(lambda each: each.rate, results[0]):.3f}",
            f"{running.warm_ms(50):.2f}",
            f"{running.warm_ms(99):.2f}",
            f"{running.first_ms(99):.2f}",
            f"{running.median(lambda each: each.cpu_us):.1f}",
            f"{running.median(lambda each: each.busy):.0%}",
            f"{running.median(lambda each: each.load):.0%}",
        )
        print(f"{running.contender.name:38}" + "".join(f"{figure:>13}" for figure in figures))


def targets(names: list[str]) -> list[tuple[str, str, str, float]]:
    """List what has to hold: (of whom, figure, against whom, at least)."""
    found = []
    wanted = {HttpProtocol.ASGI: (0.38, 0.62, 1.3), HttpProtocol.DIRECT: (0.55, 1.1, 3.0)}
    for path, bounds in wanted.items():
        for mode, least in zip((COMPILED, FRAGMENTS, RESPONSES), bounds, strict=True):
            found.append((f"{path}: {mode}", "rate", FLOOR, least))
    path = HttpProtocol.DIRECT
    best = "mercurius"
    found += [
        (f"{path}: {COMPILED}", "rate", best, 1.2),
        (f"{path}: {FRAGMENTS}", "rate", best, 2.5),
        (f"{path}: {COMPILED}", "p99", best, 5.0),
        (f"{path}: {FRAGMENTS}", "p99", best, 5.0),
        (f"{path}: {COMPILED}", "first p99", best, 5.0),
        (f"{path}: {COMPILED}", "rate", STRAWBERRY, 60.0),
        (f"{path}: {COMPILED}", "rate", TUNED, 35.0),
    ]
    return [each for each in found if each[0] in names]


def print_targets(results: list[Running]) -> None:
    """Print each ratio beside what it has to be."""
    by_name = {running.contender.name: running for running in results}
    peers = [each for name, each in by_name.items() if name.startswith("mercurius") and "direct" not in name]
    if peers:
        by_name["mercurius"] = max(peers, key=lambda each: each.median(lambda one: one.rate))
        print(f"\nmercurius at its best, batched: {by_name['mercurius'].contender.name}")
    for name, figure, against, least in targets(list(by_name)):
        if against not in by_name:
            continue
        ours, theirs = by_name[name], by_name[against]
        if figure == "rate":
            ratio = ours.ratio(lambda one: one.rate, theirs)
        elif figure == "p99":
            ratio = theirs.warm_ms(99) / ours.warm_ms(99)
        else:
            ratio = theirs.first_ms(99) / ours.first_ms(99)
        what = f"{name} / {against}" if figure == "rate" else f"{figure} of {against} / of {name}"
        verdict = "holds" if ratio >= least else "MISSED"
        print(f"{what:70}{ratio:>9.2f}   at least {least:<6g}{verdict}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--page", choices=["items", "search"], default="items")
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", nargs="+", help="the floor, and contenders named like these")
    options = parser.parse_args()
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"this bench needs {tool}, which is not installed")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        contenders = (item_contenders if options.page == "items" else search_contenders)(directory)
        if options.only:
            contenders = [
                each
                for each in contenders
                if each.name in READY or any(text in each.name for text in options.only)
            ]
        results = measure(contenders, options, directory)
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    print(f"{describe_machine()}, Node.js {node or 'none'}")
    print(
        f"{options.connections} connections, {options.rounds} rounds of {options.seconds:g} s, "
        "server and load on one core each"
    )
    print_table(results)
    if options.page == "items":
        print_targets(results)


if __name__ == "__main__":
    main()
