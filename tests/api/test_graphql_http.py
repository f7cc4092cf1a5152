"""GraphQL over HTTP: methods, media types, statuses, parameters."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import orjson
import pytest
from api_harness import CANCELLED, MUTATIONS, InProcess, Surroundings

from api.exchange import new_request_id

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
BODY = orjson.dumps({"query": "{ hello }"})


def test_answers_a_query(client: InProcess) -> None:
    answer = client.query("query ($n: String!) { hello(name: $n) }", {"n": "福建"})
    assert (answer.status, answer.json) == (200, {"data": {"hello": "你好，福建"}})
    assert answer.headers["content-type"] == f"{GRAPHQL}; charset=utf-8"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert {"vary", "content-security-policy", "referrer-policy"}.isdisjoint(answer.headers)


def test_what_is_more_than_the_answer_to_a_post_says_what_it_depends_on(client: InProcess) -> None:
    refused = client.send("POST", body=BODY, headers={"content-type": "text/plain"})
    got = client.send("GET", query_string="query={hello}")
    wrong = client.send("GET", query_string="query={nothing}", headers={"accept": JSON})
    elsewhere = client.post(BODY, origin="https://elsewhere.example")
    assert [answer.status for answer in (refused, got, wrong, elsewhere)] == [415, 200, 200, 200]
    assert got.headers["cache-control"] == wrong.headers["cache-control"] == "no-store"
    for answer in (refused, got, wrong, elsewhere):
        assert answer.headers["vary"] == "accept, accept-encoding, accept-language, origin"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"{GRAPHQL}, {JSON}", GRAPHQL),
        (f"{JSON};q=0.1, {GRAPHQL};q=0.2", GRAPHQL),
        (f"{GRAPHQL};q=0, */*", JSON),
        (f"{GRAPHQL}; charset=utf-8, {JSON};q=0.5", GRAPHQL),
        ("text/html, */*;q=0.1", JSON),
        (f"{JSON.upper()}", JSON),
    ],
)
def test_negotiates_the_media_type(client: InProcess, accept: str | None, expected: str) -> None:
    headers = {"content-type": JSON} | ({"accept": accept} if accept is not None else {})
    answer = client.send("POST", body=BODY, headers=headers)
    assert (answer.status, answer.headers["content-type"]) == (200, f"{expected}; charset=utf-8")


@pytest.mark.parametrize("accept", ["text/html", f"{JSON};q=0", f"{GRAPHQL};charset=gbk", "image/*"])
def test_refuses_media_types_it_does_not_make(client: InProcess, accept: str) -> None:
    answer = client.send("POST", body=BODY, headers={"content-type": JSON, "accept": accept})
    assert (answer.status, answer.codes) == (406, ["NOT_ACCEPTABLE"])


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", f"{JSON}; charset=gbk"]
)
def test_refuses_bodies_that_are_not_json(client: InProcess, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = client.send("POST", body=BODY, headers=headers)
    assert (answer.status, answer.codes) == (415, ["UNSUPPORTED_MEDIA_TYPE"])
    assert answer.headers["accept-post"] == JSON


def test_refuses_compressed_bodies(client: InProcess) -> None:
    answer = client.post({"query": "{ hello }"}, content_encoding="gzip")
    assert (answer.status, answer.codes) == (415, ["UNSUPPORTED_MEDIA_TYPE"])


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_refuses_other_methods(client: InProcess, method: str, open_client: Callable[..., InProcess]) -> None:
    answer = open_client(graphiql=False).send(method)
    assert (answer.status, answer.codes) == (405, ["METHOD_NOT_ALLOWED"])
    assert answer.headers["allow"] == "GET, POST, OPTIONS"


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "INVALID_JSON"),
        (b"{", "INVALID_JSON"),
        (b'{"query": "\xff"}', "INVALID_JSON"),
        (b'{"query": "\\ud800"}', "INVALID_JSON"),
        (b"[" * 5000, "INVALID_JSON"),
        (b"null", "INVALID_PARAMETER"),
        (b'"{ hello }"', "INVALID_PARAMETER"),
        (b"[]", "BATCHING_NOT_SUPPORTED"),
        (b'[{"query": "{ hello }"}]', "BATCHING_NOT_SUPPORTED"),
        (b"{}", "MISSING_QUERY"),
        (b'{"query": null}', "MISSING_QUERY"),
        (b'{"query": 1}', "INVALID_PARAMETER"),
        (b'{"query": "{ hello }", "variables": []}', "INVALID_PARAMETER"),
        (b'{"query": "{ hello }", "variables": "{}"}', "INVALID_PARAMETER"),
        (b'{"query": "{ hello }", "operationName": 1}', "INVALID_PARAMETER"),
        (b'{"query": "{ hello }", "extensions": []}', "INVALID_PARAMETER"),
        (b'{"query": "{ hello }", "documentId": "sha256:' + b"0" * 64 + b'"}', "INVALID_PARAMETER"),
    ],
)
def test_refuses_requests_that_are_not_well_formed(
    client: InProcess, body: bytes, code: str, accept: str
) -> None:
    answer = client.post(body, accept=accept)
    assert (answer.status, answer.codes) == (400, [code])
    assert "data" not in answer.json


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{", None, "GRAPHQL_PARSE_FAILED"),
        ("{ hello\x00 }", None, "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($i: Int!) { units(first: $i) { id } }", {"i": None}, "BAD_USER_INPUT"),
        ("query ($s: Float!) { slow(seconds: $s) }", {"s": "x"}, "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", None, "OPERATION_NOT_FOUND"),
        ("fragment A on Query { hello }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { ticks }", None, "OPERATION_NOT_SUPPORTED"),
    ],
)
def test_statuses_of_request_errors_depend_on_the_media_type(
    client: InProcess, query: str, variables: dict[str, object] | None, code: str
) -> None:
    for accept, status in ((GRAPHQL, 400), (JSON, 200)):
        answer = client.post({"query": query, "variables": variables}, accept=accept)
        assert (answer.status, answer.codes) == (status, [code])
        assert "data" not in answer.json


def test_runs_the_named_operation(client: InProcess) -> None:
    answer = client.post({"query": "query A { a: hello } query B { b: hello }", "operationName": "B"})
    assert answer.json == {"data": {"b": "你好，世界"}}
    answer = client.post({"query": "query A { a: hello }", "operationName": ""})
    assert answer.json == {"data": {"a": "你好，世界"}}


def test_gets_run_queries_only(client: InProcess) -> None:
    MUTATIONS.clear()
    answer = client.send("GET", query_string=urlencode({"query": 'mutation { write(text: "x") }'}))
    assert (answer.status, answer.headers["allow"], answer.codes) == (405, "POST", ["MUTATION_OVER_GET"])
    assert MUTATIONS == []
    answer = client.post({"query": 'mutation { write(text: "x") }'})
    assert (answer.status, answer.json, MUTATIONS) == (200, {"data": {"write": "x"}}, ["x"])


def test_reads_a_get(client: InProcess) -> None:
    parameters = {
        "query": "query A($n: String) { hello(name: $n) } query B { language }",
        "variables": orjson.dumps({"n": "厦门"}).decode(),
        "operationName": "A",
        "extensions": "",
    }
    answer = client.send("GET", query_string=urlencode(parameters), headers={"accept": GRAPHQL})
    assert (answer.status, answer.json) == (200, {"data": {"hello": "你好，厦门"}})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query_string", "code"),
    [
        ("", "MISSING_QUERY"),
        ("query=", "MISSING_QUERY"),
        ("query=%ff", "INVALID_PARAMETER"),
        ("query={hello}&variables={", "INVALID_PARAMETER"),
        ("query={hello}&variables=[]", "INVALID_PARAMETER"),
        ("&".join(f"a{number}=1" for number in range(50)), "INVALID_PARAMETER"),
    ],
)
def test_refuses_malformed_gets(client: InProcess, query_string: str, code: str) -> None:
    answer = client.send("GET", query_string=query_string)
    assert (answer.status, answer.codes) == (400, [code])


def test_keeps_data_beside_errors(client: InProcess) -> None:
    answer = client.query("{ hello boom }")
    assert answer.status == 200
    assert answer.json["data"] == {"hello": "你好，世界", "boom": None}
    assert answer.codes == ["INTERNAL_ERROR"]
    answer = client.query("{ hello hardBoom }")
    assert (answer.status, answer.json["data"], answer.codes) == (200, None, ["INTERNAL_ERROR"])


def test_bounds_the_body_whatever_its_declared_length(open_client: Callable[..., InProcess]) -> None:
    client = open_client(max_body_bytes=2000)
    headers = {"content-type": JSON}
    padded = orjson.dumps({"query": "{ hello }", "extensions": {"pad": "x" * 3000}})
    for given in ({"content-length": str(len(padded))}, {"content-length": "10"}, {}):
        answer = client.send("POST", body=padded, headers=headers | given)
        assert (answer.status, answer.codes) == (413, ["BODY_TOO_LARGE"])
        assert answer.headers["connection"] == "close"
    pieces = [padded[start : start + 100] for start in range(0, len(padded), 100)]
    assert client.send("POST", body=pieces, headers=headers).status == 413
    assert client.send("POST", body=[BODY[:5], BODY[5:]], headers=headers).json == {
        "data": {"hello": "你好，世界"}
    }
    for length in ("-1", "9" * 400, "1e3"):
        answer = client.send("POST", body=BODY, headers=headers | {"content-length": length})
        assert answer.status == 413


def test_stops_what_takes_too_long(open_client: Callable[..., InProcess]) -> None:
    CANCELLED.clear()
    client = open_client(execution_timeout_s=0.05)
    answer = client.query("{ slow(seconds: 5) }")
    assert (answer.status, answer.codes, CANCELLED) == (503, ["TIMEOUT"], ["slow"])
    assert client.query("{ slow(seconds: 0) }").json == {"data": {"slow": "done"}}


def test_takes_over_or_makes_the_request_id(client: InProcess) -> None:
    answer = client.query("{ requestId }", x_request_id="trace-1:a_b.c")
    assert answer.headers["x-request-id"] == "trace-1:a_b.c"
    assert answer.json == {"data": {"requestId": "trace-1:a_b.c"}}
    made = [
        client.query("{ hello }", x_request_id=bad).headers["x-request-id"] for bad in ("", "a b", "x" * 65)
    ]
    assert len(set(made)) == 3
    assert len({new_request_id() for _ in range(2_000)}) == 2_000
    assert all(identifier.isascii() and 0 < len(identifier) <= 64 for identifier in made)


def test_speaks_the_clients_language(client: InProcess) -> None:
    for header, expected in (
        ("", "zh"),
        ("en", "en"),
        ("en-GB,zh;q=0.8", "en"),
        ("zh-CN,en;q=0.9", "zh"),
        ("fr", "zh"),
        ("en;q=x", "zh"),
    ):
        assert client.query("{ language }", accept_language=header).json == {"data": {"language": expected}}
    chinese = client.post(b"{}").json["errors"][0]["message"]
    english = client.post(b"{}", accept_language="en").json["errors"][0]["message"]
    assert chinese == "缺少 query 或 documentId 参数。"
    assert english == "The request has neither query nor documentId."


def test_counts_views_and_writes_them_at_the_end(
    open_client: Callable[..., InProcess], surroundings: Surroundings
) -> None:
    client = open_client(view_flush_s=0.05)
    for _ in range(3):
        assert client.query('{ view(id: "a") }').json == {"data": {"view": True}}
    assert client.query("{ slow(seconds: 0.2) }").status == 200
    assert surroundings.written == {"a": 3}
    client.query('{ a: view(id: "a") b: view(id: "b") }')


def test_allows_named_origins_only(open_client: Callable[..., InProcess]) -> None:
    client = open_client(cors_origins="https://app.example.cn, https://m.example.cn")
    answer = client.query("{ hello }", origin="https://m.example.cn")
    assert answer.headers["access-control-allow-origin"] == "https://m.example.cn"
    answer = client.query("{ hello }", origin="https://evil.example")
    assert "access-control-allow-origin" not in answer.headers
    preflight = {"origin": "https://m.example.cn", "access-control-request-method": "POST"}
    answer = client.send("OPTIONS", headers=preflight)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert "content-type" in answer.headers["access-control-allow-headers"]
    answer = client.send("OPTIONS", headers=preflight | {"origin": "https://evil.example"})
    assert "access-control-allow-methods" not in answer.headers
