"""Memory of the engine's caches under a flood of distinct documents, variables and entities.

Run with `python -m bench.engine_flood [--requests N]`. Each simulated request offers the caches an answer and
an entity that were never seen before, every tenth a document, as the engine would after executing it. The
table shows what the caches say they hold and what the process really holds.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from pathlib import Path

import orjson
from graphql import parse

from engine.documents import DocumentCache, Prepared
from engine.fragments import FragmentCache
from engine.responses import ResponseCache

BODY = orjson.dumps({"data": {"items": [{"id": n, "title": "个体工商户设立登记"} for n in range(20)]}})


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000_000)
    options = parser.parse_args()
    documents = DocumentCache(2000, 64_000_000)
    responses = ResponseCache(64_000_000)
    fragments = FragmentCache(64_000_000)
    tree = parse("{ items { id title } }")
    pinned = Prepared("{ pinned }", tree, [], {})
    documents.pin("pinned", pinned)
    generation = fragments._generation("snapshot")
    gc.collect()
    start_mb, started = resident_mb(), time.perf_counter()
    print(
        f"{'requests':>12}{'documents':>11}{'responses MB':>14}{'fragments MB':>14}{'process MB':>12}{'s':>7}"
    )
    step = max(1, options.requests // 10)
    for n in range(options.requests):
        if n % 10 == 0:
            text = f"{{ a{n}: items {{ id title }} }}"
            documents.add(Prepared(text, tree, [], {}))
        key = ("{ items }", None, (dict, "offset", (int, n)), None, "snapshot")
        body = BODY[:-1] + b" " * (n % 7) + b"}"
        responses.put(key, body, max_age_s=60, cache_control="public, max-age=60", vary="", key_bytes=120)
        fragments._keep(generation, ("Item{id}", None, n % 5000), f"item:{n}", {"id": n, "title": "登记"})
        assert responses.bytes <= responses.max_bytes
        assert fragments.bytes <= fragments.max_bytes
        if (n + 1) % step == 0:
            print(
                f"{n + 1:>12,}{len(documents):>11}{responses.bytes / 1e6:>14.1f}",
                f"{fragments.bytes / 1e6:>13.1f}",
                f"{resident_mb() - start_mb:>11.1f}{time.perf_counter() - started:>7.1f}",
            )
    assert documents.find_pinned("pinned") is pinned
    assert documents.find("{ pinned }") is pinned
    bound = responses.max_bytes + fragments.max_bytes
    print(f"bound of the two byte caches {bound / 1e6:.0f} MB; the persisted document is still there")


if __name__ == "__main__":
    main()
