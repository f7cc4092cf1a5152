"""Trusted and automatic documents."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import orjson
import pytest
from api_harness import InProcess, Surroundings, trusted
from hypothesis import given
from hypothesis import strategies as st

from api.documents import (
    MANIFEST,
    OPERATIONS,
    BoundedCache,
    TrustedDocuments,
    build_manifest,
    document_hash,
    write_manifest,
)

HELLO = "query Hello($name: String) { hello(name: $name) }"
WRITE = 'mutation Write { write(text: "trusted") }'
DIGEST = document_hash(HELLO)
GRAPHQL = "application/graphql-response+json"


def apollo(text: str, *, digest: str | None = None, query: bool = False) -> dict[str, object]:
    persisted = {"version": 1, "sha256Hash": digest or document_hash(text)}
    return {"extensions": {"persistedQuery": persisted}} | ({"query": text} if query else {})


def test_the_manifest_is_current() -> None:
    assert (OPERATIONS / MANIFEST).read_bytes() == build_manifest()
    documents = TrustedDocuments.load()
    assert len(documents) == len(list(OPERATIONS.glob("*.graphql")))


def test_hashes_as_the_specification_does() -> None:
    text = "query ($id: ID!) {\n  user(id: $id) {\n    name\n  }\n}"
    assert document_hash(text) == "7dba4bd717b41f10434822356a93c32b1fb4907b983e854300ad839f84cdcd6e"


def test_writes_a_manifest_once(tmp_path: Path) -> None:
    (tmp_path / "a.graphql").write_text(HELLO, "utf-8")
    assert write_manifest(tmp_path) is True
    assert write_manifest(tmp_path) is False
    assert dict(TrustedDocuments.load(tmp_path)) == {DIGEST: HELLO}
    (tmp_path / MANIFEST).write_bytes(orjson.dumps({"0" * 64: HELLO}))
    with pytest.raises(ValueError, match="is not the hash"):
        TrustedDocuments.load(tmp_path)


@pytest.mark.parametrize("identifier", [f"sha256:{DIGEST}", DIGEST])
def test_runs_a_trusted_document_by_id(open_client: Callable[..., InProcess], identifier: str) -> None:
    client = open_client(documents=trusted(HELLO))
    answer = client.post({"documentId": identifier, "variables": {"name": "a"}})
    assert (answer.status, answer.json) == (200, {"data": {"hello": "你好，a"}})
    answer = client.post({"documentId": identifier, "operationName": "Hello"})
    assert answer.json == {"data": {"hello": "你好，世界"}}
    answer = client.post({"documentId": identifier, "operationName": "Other"})
    assert answer.codes == ["OPERATION_NOT_FOUND"]


def test_gets_by_id_are_cached_by_tag(open_client: Callable[..., InProcess]) -> None:
    client = open_client(documents=trusted(HELLO))
    query = urlencode({"documentId": f"sha256:{DIGEST}", "variables": '{"name":"b"}'})
    answer = client.send("GET", query_string=query)
    assert (answer.status, answer.json) == (200, {"data": {"hello": "你好，b"}})
    assert answer.headers["cache-control"] == "private, no-cache"
    tag = answer.headers["etag"]
    for given_tag in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
        again = client.send("GET", query_string=query, headers={"if-none-match": given_tag})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in again.headers
    other = client.send("GET", query_string=query, headers={"if-none-match": '"x"'})
    assert other.status == 200
    changed = client.send("GET", query_string=query.replace("b%22", "c%22"), headers={"if-none-match": tag})
    assert (changed.status, changed.json) == (200, {"data": {"hello": "你好，c"}})


def test_errors_are_not_cached(open_client: Callable[..., InProcess]) -> None:
    text = "query Boom { boom }"
    client = open_client(documents=trusted(text))
    answer = client.send("GET", query_string=f"documentId={document_hash(text)}")
    assert (answer.headers["cache-control"], "etag" in answer.headers) == ("no-store", False)


def test_a_trusted_mutation_needs_post(open_client: Callable[..., InProcess]) -> None:
    client = open_client(documents=trusted(WRITE))
    answer = client.send("GET", query_string=f"documentId=sha256:{document_hash(WRITE)}")
    assert (answer.status, answer.codes) == (405, ["MUTATION_OVER_GET"])
    assert client.post({"documentId": document_hash(WRITE)}).json == {"data": {"write": "trusted"}}


@pytest.mark.parametrize(
    "identifier", ["sha256:zz", "x-other:1", "md5:" + "0" * 64, "", "sha256:" + "0" * 64]
)
def test_unknown_ids_are_named(client: InProcess, identifier: str) -> None:
    answer = client.post({"documentId": identifier})
    assert (answer.status, answer.codes) == (400, ["DOCUMENT_NOT_FOUND"])


def test_only_trusted_documents_when_set_so(open_client: Callable[..., InProcess]) -> None:
    client = open_client(documents=trusted(HELLO), trusted_documents_only=True)
    assert client.post({"documentId": DIGEST}).status == 200
    assert client.query(HELLO).json == {"data": {"hello": "你好，世界"}}
    assert client.post(apollo(HELLO)).status == 200
    for refused in ({"query": "{ hello }"}, apollo("{ hello }"), apollo("{ hello }", query=True)):
        answer = client.post(refused)
        assert (answer.status, answer.codes) == (403, ["DOCUMENT_NOT_TRUSTED"])


def test_a_document_the_schema_has_outgrown_is_left_out(open_client: Callable[..., InProcess]) -> None:
    old = "query Old { removedField }"
    client = open_client(documents=trusted(old, HELLO))
    assert client.post({"documentId": DIGEST}).status == 200
    assert client.post({"documentId": document_hash(old)}).codes == ["GRAPHQL_VALIDATION_FAILED"]


def test_automatic_documents_are_shared_by_processes(
    open_client: Callable[..., InProcess], surroundings: Surroundings, redis_url: str
) -> None:
    surroundings.redis_url = redis_url
    text = f"query Q{secrets.token_hex(8)} {{ hello }}"
    one, other = open_client(), open_client()
    answer = one.post(apollo(text))
    assert (answer.status, answer.codes) == (400, ["PERSISTED_QUERY_NOT_FOUND"])
    assert answer.json["errors"][0]["message"] == "PersistedQueryNotFound"
    assert one.post(apollo(text, query=True)).json == {"data": {"hello": "你好，世界"}}
    for client in (one, other):
        assert client.post(apollo(text)).json == {"data": {"hello": "你好，世界"}}
    by_get = urlencode({"extensions": orjson.dumps(apollo(text)["extensions"]).decode()})
    assert other.send("GET", query_string=by_get).json == {"data": {"hello": "你好，世界"}}


def test_automatic_documents_are_kept_only_when_they_match_and_are_valid(
    client: InProcess, surroundings: Surroundings
) -> None:
    answer = client.post(apollo("{ hello }", digest="0" * 64, query=True))
    assert (answer.status, answer.codes) == (400, ["PERSISTED_QUERY_HASH_MISMATCH"])
    assert client.post(apollo("{ nothing }", query=True)).codes == ["GRAPHQL_VALIDATION_FAILED"]
    assert client.post(apollo("{ nothing }")).codes == ["PERSISTED_QUERY_NOT_FOUND"]


def test_a_silent_redis_leaves_this_processs_own(client: InProcess) -> None:
    text = "query Own { hello }"
    assert client.post(apollo(text)).codes == ["PERSISTED_QUERY_NOT_FOUND"]
    assert client.post(apollo(text, query=True)).status == 200
    assert client.post(apollo(text)).status == 200


@pytest.mark.parametrize(
    "persisted",
    [1, {}, {"version": 1}, {"version": 2, "sha256Hash": DIGEST}, {"version": 1, "sha256Hash": "x"}],
)
def test_malformed_persisted_queries_are_refused(client: InProcess, persisted: object) -> None:
    answer = client.post({"extensions": {"persistedQuery": persisted}})
    assert (answer.status, answer.codes) == (400, ["INVALID_PARAMETER"])


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 12))))
def test_the_bounded_cache_keeps_its_bounds(puts: list[tuple[int, int]]) -> None:
    cache: BoundedCache[int] = BoundedCache(5, 20)
    sizes: dict[object, int] = {}
    for key, size in puts:
        cache.put(key, key, size)
        sizes[key] = size
        kept = [known for known in sizes if cache.get(known) is not None]
        assert len(kept) == len(cache) <= 5
        assert sum(sizes[known] for known in kept) <= 20
        assert cache.get(key) == key
