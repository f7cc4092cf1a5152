"""Health, metrics, compression, GraphiQL, background jobs, and a server that drains."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import brotli
import httpx
import pytest
from api_harness import (
    FRESH,
    SCHEMA,
    InProcess,
    Surroundings,
    application,
    listening,
    settings_for,
    trusted,
)
from pymongo.errors import AutoReconnect
from redis.exceptions import ConnectionError as RedisConnectionError

from api.documents import document_hash
from api.graphiql import asset_paths
from api.views import MAX_ITEMS, Views
from tests.ports import free_port


def test_is_alive(client: InProcess) -> None:
    answer = client.send("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"alive": True})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]
    assert client.send("GET", "/nothing").status == 404


def test_is_ready_when_everything_answers(client: InProcess) -> None:
    answer = client.send("GET", "/readyz")
    report = answer.json
    assert (answer.status, report["ready"], report["missing"]) == (200, True, [])
    assert (report["mongodb"], report["redis"]) == ({"state": "ok"}, {"state": "ok"})
    snapshot = report["snapshot"]
    assert (snapshot["state"], snapshot["version"], snapshot["revision"]) == ("ok", 7, 9)
    assert snapshot["ageS"] - snapshot["unconfirmedS"] == 3600


def test_names_what_is_missing(client: InProcess, surroundings: Surroundings) -> None:
    surroundings.catalogue.fresh = None
    surroundings.engines["mongodb"] = AutoReconnect("gone")
    surroundings.engines["redis"] = RedisConnectionError("gone")
    answer = client.send("GET", "/readyz")
    assert (answer.status, answer.json["ready"]) == (503, False)
    assert answer.json["missing"] == ["snapshot", "mongodb", "redis"]
    assert answer.json["mongodb"] == {"state": "unreachable"}


def test_reads_go_on_while_an_engine_is_away(client: InProcess, surroundings: Surroundings) -> None:
    surroundings.engines["mongodb"] = TimeoutError()
    answer = client.send("GET", "/readyz")
    assert (answer.status, answer.json["missing"]) == (503, ["mongodb"])
    assert answer.json["mongodb"] == {"state": "timeout"}
    assert client.query("{ hello }").status == 200


def test_a_stale_snapshot_is_told(client: InProcess, surroundings: Surroundings) -> None:
    surroundings.catalogue.fresh = type(FRESH)(7, 9, FRESH.built_at, None, True)
    answer = client.send("GET", "/readyz")
    assert (answer.status, answer.json["snapshot"]["state"]) == (200, "stale")
    assert answer.json["snapshot"]["unconfirmedS"] is None


def test_requests_before_the_start_are_put_off(tmp_path: Path) -> None:
    client = InProcess(application(settings_for(tmp_path)))
    answer = asyncio.run(
        client.asend("POST", body=b'{"query":"{hello}"}', headers={"content-type": "application/json"})
    )
    assert (answer.status, answer.codes) == (503, ["NOT_READY"])
    assert asyncio.run(client.asend("GET", "/readyz")).json == {"ready": False, "missing": ["startup"]}


def sample(text: str, name: str, **labels: str) -> float:
    wanted = "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else ""
    match = re.search(rf"^{re.escape(name + wanted)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0


def test_counts_requests_by_registered_names_only(open_client: Callable[..., InProcess]) -> None:
    text = "query MetricsPage { hello }"
    client = open_client(documents=trusted(text))
    before = client.send("GET", "/metrics").body.decode()
    client.query(text)
    client.post({"documentId": document_hash(text)})
    client.query("query SomebodysName { hello }")
    client.query("{ boom }")
    after = client.send("GET", "/metrics").body.decode()

    def grew(name: str, **labels: str) -> float:
        return sample(after, name, **labels) - sample(before, name, **labels)

    assert grew("mintong_graphql_requests_total", operation="MetricsPage", outcome="ok") == 1
    assert grew("mintong_graphql_requests_total", operation="unregistered", outcome="ok") == 2
    assert grew("mintong_graphql_requests_total", operation="unregistered", outcome="partial") == 1
    assert grew("mintong_graphql_errors_total", code="INTERNAL_ERROR") == 1
    assert grew("mintong_graphql_seconds_count", operation="unregistered") == 3
    assert sample(after, "mintong_graphql_in_flight") == 0
    assert "SomebodysName" not in after


def test_compresses_what_is_worth_it(client: InProcess) -> None:
    plain = client.query("{ long }")
    for header, coding, decode in (
        ("gzip, deflate, br", "br", brotli.decompress),
        ("gzip;q=1, br;q=0.5", "gzip", gzip.decompress),
        ("gzip", "gzip", gzip.decompress),
        ("*", "br", brotli.decompress),
    ):
        answer = client.query("{ long }", accept_encoding=header)
        assert answer.headers["content-encoding"] == coding
        assert decode(answer.body) == plain.body
        assert len(answer.body) == int(answer.headers["content-length"]) < len(plain.body) / 20
    for header in ("identity", "br;q=0", "zstd"):
        assert "content-encoding" not in client.query("{ long }", accept_encoding=header).headers
    assert "content-encoding" not in client.query("{ hello }", accept_encoding="br").headers


def test_serves_graphiql_from_its_own_paths(client: InProcess) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = client.send("GET", headers=browser)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    text = page.body.decode()
    assert "http" not in text
    assert re.findall(r"<script>|<script [^>]*>[^<]", text) == []
    paths = re.findall(r'(?:src|href)="(/[^"]*)"', text)
    assert len(paths) == 6
    for path in paths:
        answer = client.send("GET", path, headers={"accept-encoding": "gzip"})
        assert answer.status == 200
        assert gzip.decompress(answer.body) == asset_paths()[path.rpartition("/")[2]].read_bytes()
        again = client.send("GET", path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    assert client.send("GET", "/graphiql/..%2fapp.py").status == 404
    assert client.send("GET", "/", headers=browser).headers["location"] == "/graphql"
    by_browser = client.send("GET", query_string="query={hello}", headers=browser)
    assert by_browser.json == {"data": {"hello": "你好，世界"}}


def test_graphiql_is_off_in_production(open_client: Callable[..., InProcess]) -> None:
    client = open_client(environment="production")
    assert client.send("GET", headers={"accept": "text/html"}).status == 406
    assert client.send("GET", "/graphiql/app.js").status == 404
    assert client.send("GET", "/").status == 404


def test_views_stay_while_the_store_is_away() -> None:
    written: list[dict[str, int]] = []
    away = [True]

    async def write(day: object, counts: object) -> None:
        if away[0]:
            raise AutoReconnect("gone")
        written.append(dict(counts))  # type: ignore[call-overload]

    async def scenario() -> None:
        views, now = Views(write), datetime(2026, 11, 22, tzinfo=UTC)
        assert await views.flush(now=now) == 0
        views.count("a")
        assert await views.flush(now=now) == 0
        views.count("a")
        views.count("b")
        away[0] = False
        assert await views.flush(now=now) == 3
        assert await views.flush(now=now) == 0
        for number in range(MAX_ITEMS + 5):
            views.count(str(number))
        assert await views.flush(now=now) == MAX_ITEMS

    asyncio.run(scenario())
    assert written[0] == {"a": 2, "b": 1}


def test_a_live_server_keeps_connections_and_refuses_large_bodies(tmp_path: Path) -> None:
    app = application(settings_for(tmp_path, max_body_bytes=5000))
    with listening(app) as url, httpx.Client(base_url=url) as http:
        for _ in range(3):
            answer = http.post("/graphql", json={"query": "{ hello }"})
            assert answer.json() == {"data": {"hello": "你好，世界"}}
        chunks = (b"x" * 1000 for _ in range(100))
        answer = http.post("/graphql", content=chunks, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")
        assert http.get("/readyz").status_code == 200


SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import api.app
import api_harness
from api.server import serve
api.app.house_schema = api_harness.SCHEMA
api.app.open_resources = api_harness.Surroundings().open
api.app.create_app.__kwdefaults__["opener"] = api_harness.Surroundings().open
if __name__ == "__main__":
    changes = {"port": int(sys.argv[2]), "workers": int(sys.argv[3]), "drain_s": 5, "log_json": True}
    raise SystemExit(serve(api_harness.settings_for(Path(sys.argv[4]), **changes)))
"""


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.alone
def test_drains_on_sigterm(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER, "utf-8")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    root = Path(__file__).parents[2]
    command = [sys.executable, str(script), str(Path(__file__).parent), str(port), "1", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    server = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    )
    try:
        wait_until(lambda: is_up(url) or server.poll() is not None)
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(httpx.post(f"{url}/graphql", json={"query": "{ slow(seconds: 2) }"}, timeout=10))

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.3)
        started = time.monotonic()
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 503, 1)
        assert httpx.get(f"{url}/readyz").json()["draining"] is True
        assert httpx.post(f"{url}/graphql", json={"query": "{ hello }"}).status_code == 200
        asking.join()
        assert answers[0].json() == {"data": {"slow": "done"}}
        assert server.wait(10) == 0
        assert time.monotonic() - started < 6
    finally:
        server.kill()
        output = server.communicate()[1].decode()
    assert "Traceback" not in output, output


@pytest.mark.alone
@pytest.mark.parametrize("workers", [2])
def test_several_workers_share_metrics_and_stop(tmp_path: Path, workers: int) -> None:
    assert SCHEMA is not None
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    script = tmp_path / "server.py"
    script.write_text(SERVER, "utf-8")
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [
        sys.executable,
        str(script),
        str(Path(__file__).parent),
        str(port),
        str(workers),
        str(tmp_path),
    ]
    server = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        wait_until(lambda: is_up(url) or server.poll() is not None)
        for _ in range(30):
            assert httpx.post(f"{url}/graphql", json={"query": "{ hello }"}).status_code == 200
        # A worker tells the others what it counted once a second.
        wait_until(lambda: counted(url) == 30)
        assert [counted(url) for _ in range(5)] == [30] * 5
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        output = server.communicate()[1].decode()
    assert "Traceback" not in output, output


def counted(url: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    return sample(text, "mintong_graphql_requests_total", operation="unregistered", outcome="ok")
