"""The house's own schema behind the way in, on real engines and a real snapshot."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from api_harness import InProcess
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import queries

from api.app import create_app
from api.documents import TrustedDocuments
from api.graphiql import asset_paths
from domain.catalogue import (
    Department,
    Division,
    Guide,
    ItemType,
    LegalBasis,
    Level,
    Material,
    ServiceItem,
    Step,
    TimeLimit,
)
from loaders.catalogue_build import build_snapshot
from resolvers.schema import schema
from settings import Settings

NAMES = ("社会保障卡申领", "生育登记服务", "机动车驾驶证补换证", "不动产登记", "护照签发", "公证服务")
DIVISIONS = (
    Division("350000", "福建省", Level.PROVINCE, None, "福建", "fu jian"),
    Division("350100", "福州市", Level.CITY, "350000", "福州", "fu zhou"),
    Division("350102", "鼓楼区", Level.COUNTY, "350100", "鼓楼", "gu lou"),
)
GUIDE = Guide(
    conditions="本省户籍居民",
    materials=(Material("居民身份证"),),
    steps=(Step("受理", days=1.0), Step("办结")),
    legal_basis_ids=("law-1",),
)


def items() -> Iterator[ServiceItem]:
    for place, division in enumerate(DIVISIONS):
        for number, name in enumerate(NAMES):
            yield ServiceItem(
                id=f"item-{place}-{number}",
                name=name,
                category_code=f"{number + 1:02}",
                division_code=division.code,
                department_id=f"d-{division.code}",
                level=division.level,
                type=ItemType.PUBLIC_SERVICE,
                guide_id="guide-1",
                promised_limit=TimeLimit(number),
                online_depth=number % 5,
                updated_at=datetime(2026, 11, 1 + number, tzinfo=UTC),
            )


def write_snapshot(home: Path) -> None:
    build_snapshot(
        home / "snapshots" / "catalogue-1",
        version=1,
        built_at=datetime(2026, 11, 22, tzinfo=UTC),
        divisions=DIVISIONS,
        departments=[
            Department(f"d-{each.code}", f"{each.name}政务服务中心", each.code) for each in DIVISIONS
        ],
        legal_bases=[LegalBasis("law-1", "中华人民共和国社会保险法", "第五十八条", "……")],
        guides=[("guide-1", GUIDE)],
        items=items(),
    )


@pytest.fixture
def house(tmp_path: Path, mongodb_uri: str, redis_url: str, database_name: str) -> Iterator[InProcess]:
    write_snapshot(tmp_path)
    given_settings = Settings.model_validate(
        {
            "home": tmp_path,
            "MONGODB_URI": mongodb_uri,
            "REDIS_URL": redis_url,
            "database": database_name,
            "log_sample": 0.0,
            "engine_timeout_ms": 30_000,
            "max_aliases": 1_000,
            "max_tokens": 10_000,
            "max_depth": 40,
            "max_cost": 200_000,
        }
    )
    with InProcess(create_app(given_settings)) as client:
        client.run(asyncio.sleep(0.2))
        yield client


def test_is_ready_on_real_engines(house: InProcess) -> None:
    answer = house.send("GET", "/readyz")
    assert (answer.status, answer.json["missing"]) == (200, [])
    assert answer.json["snapshot"]["version"] == 1


def test_registered_operations_run(house: InProcess) -> None:
    variables: dict[str, dict[str, Any]] = {
        "SearchServiceItems": {"text": "社会保障卡"},
        "SuggestServiceItems": {"prefix": "社会"},
        "ServiceItem": {"id": "item-2-0"},
    }
    documents = TrustedDocuments.load()
    ran = set()
    for digest, text in documents.items():
        name = text.partition("(")[0].partition("{")[0].split()[1]
        answer = house.post({"documentId": f"sha256:{digest}", "variables": variables.get(name)})
        assert (answer.status, answer.codes) == (200, [])
        ran.add(name)
        if name == "SearchServiceItems":
            found = answer.json["data"]["searchServiceItems"]
            assert found["totalCount"] == 3
            assert {edge["node"]["name"] for edge in found["edges"]} == {"社会保障卡申领"}
        if name == "ServiceItem":
            assert answer.json["data"]["serviceItem"]["legalBases"][0]["article"] == "第五十八条"
    assert ran == {path.stem for path in Path("api/operations").resolve().glob("*.graphql")}


def test_the_first_query_of_graphiql_runs(house: InProcess) -> None:
    script = asset_paths()["app.js"].read_text("utf-8")
    text = script.partition("DEFAULT_QUERY = `")[2].partition("`")[0]
    for name in ("Categories", "Search"):
        answer = house.post({"query": text, "operationName": name})
        assert (answer.status, answer.codes) == (200, [])


@pytest.mark.parametrize("page", [2**31, -(2**31), 0, 101])
def test_unlikely_pages_are_refused(house: InProcess, page: int) -> None:
    answer = house.query("query ($n: Int!) { popularServiceItems(first: $n) { id } }", {"n": page})
    assert answer.status in (200, 400)
    assert answer.codes
    assert "INTERNAL_ERROR" not in answer.codes


def test_random_valid_queries_never_fail_unmasked(house: InProcess) -> None:
    outcomes: Counter[str] = Counter()
    known = st.sampled_from(["item-0-0", "d-350100", "350000", "01", "社会保障卡"])
    text = schema.as_str()
    query_type = schema._schema.query_type
    assert query_type is not None
    # Nobody is signed in: most of the queries stay with what everybody may read.
    open_to_all = [name for name in query_type.fields if name not in ("viewer", "desk")]
    readable = queries(text, fields=open_to_all, allow_null=True)
    documents = st.one_of(readable, readable, readable, queries(text, allow_null=True))

    @settings(
        max_examples=250,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(documents, known)
    def run(text: str, value: str) -> None:
        likelier = re.sub(r"first: -?\d+", "first: 5", text.replace('""', f'"{value}"'))
        for query in (text, likelier):
            answer = house.query(query)
            assert answer.status < 500, query
            assert "INTERNAL_ERROR" not in answer.codes, (query, answer.json)
            assert "GRAPHQL_VALIDATION_FAILED" not in answer.codes, (query, answer.json)
            outcomes["data" if answer.json.get("data") else "refused"] += 1

    run()
    assert outcomes["data"] >= 40
