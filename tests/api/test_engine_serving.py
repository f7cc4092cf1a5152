"""Operations on compiled plans: the same answers, kept no longer and for nobody else than declared."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import strawberry
from api_harness import Answer, InProcess, StillCatalogue, Surroundings, application, settings_for, trusted
from test_house import write_snapshot

from api.app import create_app
from api.compiled import CompiledOperation
from api.documents import TrustedDocuments, document_hash
from engine.policy import CacheControl, CacheScope
from loaders.catalogue import Freshness
from loaders.catalogue_snapshot import CatalogueSnapshot
from resolvers.schema import schema

PUBLIC = "public, max-age=60, stale-while-revalidate=600"
SHORT = "public, max-age=5"
NAMES = """query Names($text: String!) {
  searchServiceItems(text: $text) { totalCount edges { node { name } } }
}"""
COUNTS = """{
  divisions { itemCount } division(code: "350000") { itemCount }
  departments { edges { node { itemCount } } }
}"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> CatalogueSnapshot:
    home = tmp_path_factory.mktemp("home")
    write_snapshot(home)
    return CatalogueSnapshot.open(home / "snapshots" / "catalogue-1")


@pytest.fixture
def served(surroundings: Surroundings, snapshot: CatalogueSnapshot) -> StillCatalogue:
    """What is served; a test publishes by changing `current`."""
    surroundings.catalogue.current = snapshot
    surroundings.catalogue.fresh = Freshness(1, 0, snapshot.built_at, snapshot.built_at, is_stale=False)
    return surroundings.catalogue


Open = Callable[..., InProcess]


@pytest.fixture
def open_house(tmp_path: Path, surroundings: Surroundings, served: StillCatalogue) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(documents: TrustedDocuments | None = None, **changes: Any) -> InProcess:
            app = create_app(settings_for(tmp_path, **changes), trusted=documents, opener=surroundings.open)
            return stack.enter_context(InProcess(app))

        yield open_one


def registered() -> dict[str, str]:
    """Ids of the registered operations by name."""
    return {text.split()[1].partition("(")[0]: digest for digest, text in TrustedDocuments.load().items()}


def get(client: InProcess, digest: str, variables: dict[str, Any] | None = None, **headers: str) -> Answer:
    query = urlencode({"documentId": f"sha256:{digest}", "variables": orjson.dumps(variables or {}).decode()})
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.send("GET", query_string=query, headers=given)


REGISTERED: list[tuple[str, dict[str, Any]]] = [
    ("Categories", {}),
    ("Divisions", {}),
    ("Divisions", {"parentCode": "350100"}),
    ("Divisions", {"parentCode": "990000"}),
    ("Divisions", {"parentCode": "not a code"}),
    ("Home", {}),
    ("Home", {"divisionCode": "350102", "first": 3}),
    ("Home", {"first": 0}),
    ("Home", {"first": "three"}),
    ("SearchServiceItems", {}),
    ("SearchServiceItems", {"text": "社会保障卡", "first": 1}),
    ("SearchServiceItems", {"text": "shbzk", "filter": {"divisionCode": "350102"}}),
    ("SearchServiceItems", {"filter": {"levels": ["CITY"], "onlineDepth": 2}, "sort": "NEWEST"}),
    ("SearchServiceItems", {"filter": {"divisionCode": "990000"}}),
    ("SearchServiceItems", {"filter": {"categoryCodes": ["77"]}}),
    ("SearchServiceItems", {"filter": {"levels": ["MOON"], "unknown": 1}}),
    ("SearchServiceItems", {"after": "not a cursor"}),
    ("SearchServiceItems", {"first": 101}),
    ("SearchServiceItems", {"text": None}),
    ("SearchServiceItems", {"text": "长" * 301}),
    ("ServiceItem", {"id": "item-2-0"}),
    ("ServiceItem", {"id": "nothing"}),
    ("ServiceItem", {}),
    ("SuggestServiceItems", {"prefix": "社会"}),
    ("SuggestServiceItems", {"prefix": "社会", "divisionCode": "35"}),
]
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("{ catalogueStatus { source state reason version itemCount __typename } }", {}),
    ("query ($id: ID!) { node(id: $id) { __typename id ... on Division { name children { code } } } }", {}),
    ('{ a: division(code: "350102") { name parent { name } } b: division(code: "x") { name } }', {}),
    ('{ serviceItems(ids: ["item-0-0", "none", "item-1-1"]) { name legalBases { law } } }', {}),
    ("query ($s: Boolean!) { categories { code name @include(if: $s) nameEn @skip(if: $s) } }", {"s": True}),
    ("query ($s: Boolean!) { categories { code name @include(if: $s) nameEn @skip(if: $s) } }", {"s": False}),
    ("{ departments(first: 2) { totalCount edges { node { name } } pageInfo { endCursor } } }", {}),
    ("{ __schema { queryType { name } } categories { code } }", {}),
    ("query ($n: [ID!]!) { nodes(ids: $n) { id } }", {"n": [1, None, {}, [], 1.5, True, "a", None, None]}),
]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_answers_are_the_same_with_the_engine_on_and_off(open_house: Open, language: str) -> None:
    plain = open_house(compiled_execution=False)
    bare = open_house(fragment_cache_bytes=0, response_cache_bytes=0)
    full = open_house()
    ids = registered()
    assert {name for name, _ in REGISTERED} == set(ids)
    requests: list[dict[str, Any]] = [
        {"documentId": f"sha256:{ids[name]}", "variables": variables} for name, variables in REGISTERED
    ]
    requests += [{"query": text, "variables": variables} for text, variables in OTHERS]
    codes: Counter[str] = Counter()
    for request in requests:
        expected = plain.post(request, accept_language=language, x_request_id="r")
        codes.update(expected.codes or ["none"])
        for client in (bare, full):
            for _ in range(3):
                answer = client.post(request, accept_language=language, x_request_id="r")
                assert (answer.status, answer.body) == (expected.status, expected.body), request
    assert codes["none"] >= 15
    assert {"UNKNOWN_DIVISION", "INVALID_CURSOR", "INVALID_DIVISION_CODE", "BAD_USER_INPUT"} <= set(codes)


@pytest.mark.parametrize("caches", [{}, {"fragment_cache_bytes": 0, "response_cache_bytes": 0}])
def test_each_request_counts_one_view(
    tmp_path: Path, surroundings: Surroundings, served: StillCatalogue, caches: dict[str, int]
) -> None:
    with InProcess(create_app(settings_for(tmp_path, **caches), opener=surroundings.open)) as client:
        for _ in range(7):
            assert get(client, registered()["ServiceItem"], {"id": "item-2-0"}).status == 200
            aliased = client.query('{ a: serviceItem(id: "item-1-1") { name } categories { name } }')
            assert aliased.json["data"]["a"]["name"] == "生育登记服务"
    assert surroundings.written == {"item-2-0": 7, "item-1-1": 7}


def test_a_publish_and_a_withdrawal_are_seen_by_the_next_request(
    open_house: Open, served: StillCatalogue, snapshot: CatalogueSnapshot
) -> None:
    client = open_house()

    def found() -> tuple[int, list[str]]:
        data = client.query(NAMES, {"text": "社会保障卡"}).json["data"]["searchServiceItems"]
        return data["totalCount"], [edge["node"]["name"] for edge in data["edges"]]

    name = "社会保障卡申领"
    assert [found() for _ in range(4)] == [(3, [name] * 3)] * 4
    served.current = snapshot.with_overlay(revision=1, withdrawn=frozenset({"item-1-0"}), popularity={})
    assert [found() for _ in range(4)] == [(2, [name] * 2)] * 4
    served.current = snapshot.with_overlay(revision=2, withdrawn=frozenset(), popularity={})
    assert found() == (3, [name] * 3)


def test_no_answer_mixes_two_versions(
    open_house: Open, served: StillCatalogue, snapshot: CatalogueSnapshot
) -> None:
    client = open_house()
    withdrawn = [frozenset(f"item-0-{n}" for n in range(count)) for count in range(5)]
    versions = [
        snapshot.with_overlay(revision=number, withdrawn=gone, popularity={})
        for number, gone in enumerate(withdrawn)
    ]

    async def ask(number: int) -> None:
        served.current = versions[number % 5]
        expected = 6 - number % 5
        body = orjson.dumps({"query": COUNTS})
        answer = await client.asend("POST", body=body, headers={"content-type": "application/json"})
        data = answer.json["data"]
        assert data["divisions"] == [{"itemCount": expected}]
        assert data["division"] == {"itemCount": expected}
        assert data["departments"]["edges"][0] == {"node": {"itemCount": expected}}

    async def ask_all() -> None:
        await asyncio.gather(*(ask(number) for number in range(100)))

    client.run(ask_all())


@pytest.mark.parametrize(
    ("name", "variables", "policy"),
    [
        ("Categories", {}, PUBLIC),
        ("Divisions", {}, PUBLIC),
        ("SearchServiceItems", {"text": "公证"}, PUBLIC),
        ("SuggestServiceItems", {"prefix": "公证"}, PUBLIC),
        ("Home", {}, SHORT),
        ("ServiceItem", {"id": "item-0-0"}, "private, no-cache"),
        ("SearchServiceItems", {"after": "not a cursor"}, "no-store"),
    ],
)
def test_gets_say_who_may_keep_the_answer(
    open_house: Open, name: str, variables: dict[str, Any], policy: str
) -> None:
    client, digest = open_house(), registered()[name]
    for _ in range(2):
        answer = get(client, digest, variables)
        assert answer.headers["cache-control"] == policy
        assert "accept-language" in answer.headers["vary"]
        if policy == "no-store":
            assert "etag" not in answer.headers
            continue
        refused = get(client, digest, variables, authorization="Bearer x")
        assert (refused.status, refused.headers["cache-control"]) == (401, "no-store")
        again = get(client, digest, variables, if_none_match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        assert again.headers["cache-control"] == policy


def test_tags_are_the_same_with_the_engine_on_and_off(open_house: Open) -> None:
    digest = registered()["Categories"]
    clients = [open_house(compiled_execution=False), open_house(response_cache_bytes=0), open_house()]
    assert len({get(client, digest).headers["etag"] for client in clients for _ in range(2)}) == 1


def engine_of(client: InProcess, text: str) -> Any:
    operation = client._app._graphql._lookup._prepare(text, None)
    assert isinstance(operation, CompiledOperation)
    return operation._engine


def test_only_documents_that_come_again_are_kept_and_within_bounds(open_house: Open) -> None:
    client = open_house(fragment_cache_bytes=50_000, response_cache_bytes=50_000)
    engine = engine_of(client, NAMES)
    registered_ones = engine.compiled
    client.query(NAMES, {"text": "公证"})
    assert (engine.compiled, len(engine.responses), len(engine.fragments)) == (registered_ones, 0, 0)
    client.query(NAMES, {"text": "公证"})
    assert (engine.compiled, len(engine.responses), len(engine.fragments)) == (registered_ones + 1, 1, 3)
    for number in range(200):
        client.query(NAMES, {"text": f"公证{number}"})
        assert engine.responses.bytes <= 50_000
        assert engine.fragments.bytes <= 50_000
    assert engine.compiled == registered_ones + 1
    assert len(engine.responses) > 10


def test_registered_documents_are_compiled_before_their_first_request(open_house: Open) -> None:
    client = open_house()
    engine = engine_of(client, NAMES)
    compiled = engine.compiled
    assert compiled == len(registered())
    assert get(client, registered()["Categories"]).status == 200
    assert (engine.compiled, len(engine.responses)) == (compiled, 1)


def test_explains_in_development_only(open_house: Open) -> None:
    text = "{ popularServiceItems(first: 2) { name division { name } } }"
    client = open_house()
    answer = client.query(text, x_explain="1").json
    explained = answer["extensions"]["explain"]
    assert len(answer["data"]["popularServiceItems"]) == 2
    assert (explained["compiled"], explained["reason"], explained["cost"]) == (True, None, 7)
    assert explained["cacheControl"] == PUBLIC
    assert {level["type"] for level in explained["levels"]} >= {"Query", "ServiceItem"}
    assert "extensions" not in client.query(text).json
    assert "extensions" not in client.query(text, x_explain="0").json
    off = open_house(compiled_execution=False).query(text, x_explain="1").json
    assert (off["data"], off["extensions"]["explain"]["compiled"]) == (answer["data"], False)
    refused = client.query('{ division(code: "x") { name } }', x_explain="1")
    assert refused.codes == ["INVALID_DIVISION_CODE"]
    assert refused.json["extensions"]["explain"]["compiled"] is True
    production = open_house(environment="production")
    assert "extensions" not in production.query(text, x_explain="1").json


def test_explained_answers_are_not_kept(open_house: Open) -> None:
    answer = get(open_house(), registered()["Categories"], x_explain="1")
    assert answer.json["extensions"]["explain"]["compiled"] is True
    assert (answer.headers["cache-control"], "etag" in answer.headers) == ("no-store", False)


def test_slow_and_broken_fields_end_as_without_the_engine(tmp_path: Path) -> None:
    queries = [
        ("{ slow(seconds: 5) }", 503, ["TIMEOUT"]),
        ("{ boom }", 200, ["INTERNAL_ERROR"]),
        ("{ hello hardBoom }", 200, ["INTERNAL_ERROR"]),
        ("{ refused hello }", 200, ["INVALID_ID"]),
        ("{ wrongType }", 200, ["INTERNAL_ERROR"]),
        ('mutation { write(text: "again") }', 200, []),
        ("{ a: language b: requestId }", 200, []),
    ]
    answers = []
    for compiled in (False, True):
        settings = settings_for(tmp_path, compiled_execution=compiled, execution_timeout_s=0.05)
        with InProcess(application(settings, documents=trusted("query Hello { hello }"))) as client:
            for text, status, codes in queries:
                for _ in range(3):
                    answer = client.query(text, x_request_id="r-1")
                    assert (answer.status, answer.codes) == (status, codes), text
                answers.append(answer.body)
            assert get(client, document_hash("query Hello { hello }")).headers["cache-control"] == (
                "private, no-cache"
            )
    assert answers[: len(queries)] == answers[len(queries) :]


def test_what_counts_views_or_may_be_private_is_not_public() -> None:
    query = schema._schema.query_type
    assert query is not None
    undeclared = {
        name
        for name, field in query.fields.items()
        if not field.extensions["strawberry-definition"].directives
    }
    private = {"complaintByCode", "complaintPreview", "desk", "node", "nodes", "viewer"}
    counted_or_as_of_now = {"serviceItem", "catalogueStatus"}
    # Lists that change without a snapshot's version: a stored answer could outlive them.
    lists = {"cityClasses", "complaintClasses", "guide", "responsibleUnits", "searchGuides"}
    lists |= {"suggestComplaintClasses", "unit", "units"}
    assert undeclared == private | counted_or_as_of_now | lists


def test_the_caches_are_measured(open_house: Open) -> None:
    client = open_house()
    for _ in range(3):
        assert get(client, registered()["Categories"]).status == 200
    text = client.send("GET", "/metrics").body.decode()
    assert re.search(
        r'^mintong_cache_lookups_total\{cache="responses",result="hit"\} [1-9]', text, re.MULTILINE
    )
    assert re.search(r'^mintong_cache_bytes\{cache="responses"\} [1-9]', text, re.MULTILINE)
    assert 'mintong_cache_bytes{cache="fragments"}' in text


CALLS: list[str] = []
COUNTED = "query Counted { dear }"


@strawberry.type
class CountingQuery:
    @strawberry.field(directives=[CacheControl(max_age=60, scope=CacheScope.PUBLIC)])
    def dear(self) -> str:
        CALLS.append("dear")
        return "dear"


COUNTING = strawberry.Schema(CountingQuery)


def test_whole_answers_may_be_shared_by_processes(tmp_path: Path, redis_url: str) -> None:
    database = f"shared-{secrets.token_hex(6)}"
    settings = settings_for(tmp_path, shared_responses=True, database=database)
    surroundings = Surroundings(redis_url=redis_url)
    digest = document_hash(COUNTED)
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(InProcess(application(settings, surroundings, COUNTING, trusted(COUNTED))))
            for _ in range(2)
        )
        CALLS.clear()
        answers = [get(client, digest) for client in (one, other, other)]
        assert {answer.body for answer in answers} == {b'{"data":{"dear":"dear"}}'}
        assert {answer.headers["cache-control"] for answer in answers} == {"public, max-age=60"}
        assert CALLS == ["dear"]
