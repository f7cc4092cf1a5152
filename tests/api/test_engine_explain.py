"""`mintong explain`: the plan, the generated source, and mistakes in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from test_house import write_snapshot

QUERY = "query Popular($n: Int!) { popularServiceItems(first: $n) { name division { name } } }"


def explain(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {key: value for key, value in os.environ.items() if not key.startswith("MINTONG_")}
    (home / "query.graphql").write_text(QUERY, "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "explain", str(home / "query.graphql"), *arguments],
        env={**base, "COLUMNS": "200", "NO_COLOR": "1", "MINTONG_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_explains_a_query_on_the_newest_snapshot(
    tmp_path: Path, mongodb_uri: str, redis_url: str, database_name: str
) -> None:
    write_snapshot(tmp_path)
    result = explain(
        tmp_path,
        "--variables",
        '{"n": 3}',
        MONGODB_URI=mongodb_uri,
        REDIS_URL=redis_url,
        MINTONG_DATABASE=database_name,
        MINTONG_ENGINE_TIMEOUT_MS="30000",
    )
    assert (result.returncode, result.stderr) == (0, "")
    shown = orjson.loads(result.stdout)
    explained = shown["explain"]
    assert (explained["compiled"], explained["reason"], explained["cost"]) == (True, None, 10)
    assert explained["cacheControl"] == "public, max-age=60, stale-while-revalidate=600"
    assert explained["fragments"]["hits"] == 3
    assert "errors" not in shown


def test_shows_the_generated_source_without_engines(tmp_path: Path) -> None:
    result = explain(tmp_path, "--source", "--variables", '{"n": 3}')
    assert (result.returncode, result.stderr) == (0, "")
    assert '"""ServiceItem"""' in result.stdout
    compile(result.stdout, "plan", "exec")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--variables", "[1"), 2, "Error: The variables are not JSON"),
        (("--variables", "[1]"), 2, "Error: The variables must be a JSON object."),
        (("--operation", "Other"), 1, "Error: "),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    result = explain(tmp_path, *arguments)
    assert (result.returncode, result.stderr.count("\n")) == (status, 1)
    assert result.stderr.startswith(message)
