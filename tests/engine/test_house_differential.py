"""The house's own schema over a small real catalogue: the same bytes with the engine on and off.

`MINTONG_DIFFERENTIAL_EXAMPLES` raises the number of examples. Only reads: what writes has tests of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from graphql import StringValueNode
from house_documents import Case, queries, variables_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import from_schema

from api.app import make_preparer
from api.documents import TrustedDocuments
from api.errors import RequestError
from api.execution import InvalidDocumentError, Outcome, Preparer
from bench.catalogues import BUILT_AT, build_demo
from domain.access import Assurance, Role, Viewer
from domain.ids import encode_node_id
from loaders.catalogue import Freshness
from loaders.catalogue_snapshot import CatalogueSnapshot, SearchQuery
from resolvers.context import Context
from resolvers.schema import schema
from settings import Settings

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
EXAMPLES = int(os.environ.get("MINTONG_DIFFERENTIAL_EXAMPLES", "300"))
OPTIONS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="MINTONG_DIFFERENTIAL_EXAMPLES" not in os.environ,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TRUSTED = tuple(TrustedDocuments.load().values())
_UNLIMITED = {"max_cost": 10**9, "max_depth": 100, "max_aliases": 1000, "max_tokens": 20_000}
_MODES: dict[str, dict[str, Any]] = {
    "plain": {"compiled_execution": False},
    "compiled": {"fragment_cache_bytes": 0, "response_cache_bytes": 0},
    "kept": {},
}
_TIMES = 3
"""The first on graphql-core, the second compiled, the third from what was kept."""


class Views:
    """Remembers whose view was counted."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def count(self, item_id: str) -> None:
        self.counted[item_id] += 1


class House:
    """The ways to run an operation, over the same snapshots."""

    def __init__(self, directory: Path) -> None:
        build_demo(directory, items=300)
        first = CatalogueSnapshot.open(directory)
        found = first.search(SearchQuery("", first=40))
        ids = [hit.node.id for hit in found.edges]
        later = first.with_overlay(
            revision=1, withdrawn=frozenset(ids[:3]), popularity={each: n for n, each in enumerate(ids)}
        )
        self.snapshots = (first, later, None)
        self.preparers = {name: self._preparer(changes) for name, changes in _MODES.items()}
        self.pools = _pools(first)
        self.loop = asyncio.new_event_loop()
        self.counts: Counter[str] = Counter()

    def _preparer(self, changes: dict[str, Any]) -> Preparer:
        return make_preparer(
            Settings.model_validate(_UNLIMITED | changes), schema, observe_error=lambda _code: None
        )

    def run(self, mode: str, case: Case, situation: tuple[int, str, int]) -> list[tuple[Any, Counter[str]]]:
        """Run a case several times; give the answers, each with the views it counted."""
        try:
            operation = self.preparers[mode].prepare(case.text, None)
        except RequestError as error:
            return [(error.code, Counter())] * _TIMES
        except InvalidDocumentError as error:
            return [(error.body("zh"), Counter())] * _TIMES
        return [
            self.loop.run_until_complete(self._execute(operation, case.variables, situation))
            for _ in range(_TIMES)
        ]

    async def _execute(
        self, operation: Any, variables: dict[str, Any], situation: tuple[int, str, int]
    ) -> tuple[Any, Counter[str]]:
        snapshot, language, viewer = situation
        views = Views()
        context = Context(
            catalogue=self.snapshots[snapshot],
            catalogue_freshness=lambda: Freshness(1, 0, BUILT_AT, NOW, is_stale=False),
            views=views,
            language=language,  # type: ignore[arg-type]
            request_id="r",
            now=NOW,
            viewer=VIEWERS[viewer],
        )
        try:
            outcome = await operation.execute(variables, context)
        except RequestError as error:
            return (error.code, error.status), views.counted
        return outcome, views.counted

    def check(self, case: Case, situation: tuple[int, str, int]) -> None:
        """Compare the ways with each other."""
        (expected, views), *others = self.run("plain", case, situation)
        assert others == [(expected, views)] * (_TIMES - 1)
        has_errors = isinstance(expected, Outcome) and bool(expected.codes)
        for mode in ("compiled", "kept"):
            for answer, counted in self.run(mode, case, situation):
                assert _told(answer) == _told(expected), mode
                # After an error that empties the answer graphql-core leaves the rest undone, the engine not.
                assert views <= counted if has_errors else views == counted, mode
        self.counts[_kind(expected)] += 1


def _told(answer: Any) -> Any:
    """Give what a client is told; how long others may keep it is known with the engine only."""
    return (answer.body, answer.status, answer.codes) if isinstance(answer, Outcome) else answer


def _kind(answer: Any) -> str:
    if not isinstance(answer, Outcome) or b'"data":' not in answer.body:
        return "refused"
    return "with errors" if answer.codes else "whole"


def _viewer(*roles: Role) -> Viewer:
    return Viewer("a1", "s1", frozenset(roles), Assurance.L2, NOW + timedelta(hours=1), unit="u1")


VIEWERS = (None, _viewer(Role.CITIZEN), _viewer(Role.DESK, Role.OPERATOR))
situations = st.tuples(
    st.sampled_from((0, 0, 0, 0, 1, 1, 2)), st.sampled_from(("zh", "en")), st.integers(0, len(VIEWERS) - 1)
)


def _pools(snapshot: CatalogueSnapshot) -> dict[str, list[Any]]:
    """Give values that mean something in a snapshot, by the names of arguments."""
    page = snapshot.search(SearchQuery("", first=12))
    items = [hit.node for hit in page.edges]
    divisions = sorted({item.division.code for item in items})
    departments = [item.department.id for item in items]
    ids = [item.id for item in items]
    names = [item.name for item in items]
    codes = [*divisions, "350000", "350100", "350102", "990000", "not a code", "35010200000"]
    categories = [category.code for category in snapshot.categories]
    nodes = [items[0].node_id, items[1].node_id]
    nodes += [encode_node_id("Division", divisions[0]), encode_node_id("Department", departments[0])]
    nodes += [encode_node_id("Category", categories[0]), encode_node_id("Unknown", "1")]
    return {
        "id": [*ids, *departments[:3], *divisions[:3], *nodes, "nothing"],
        "ids": [*ids, *nodes, "nothing"],
        "text": ["", *names[:4], "登记", "许可", "zhuce", "zc", "福州", "长" * 301],
        "prefix": ["登", *names[:2], "shb", ""],
        "first": [1, 2, 3, 20, 100, 0, 101, -1],
        "after": [page.page_info.end_cursor, None, "not a cursor", ""],
        "divisionCode": codes,
        "parentCode": codes,
        "code": [*codes, *categories],
        "categoryCode": [*categories, "77"],
        "categoryCodes": [*categories, "77"],
        "departmentId": [*departments, "nothing"],
        "departmentIds": [*departments, "nothing"],
        "onlineDepth": [0, 1, 2, 3, 4, 5],
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    before = structlog.get_config()
    # Errors of resolvers are expected here, thousands of them.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    house = House(tmp_path_factory.mktemp("house") / "catalogue")
    yield house
    house.loop.close()
    structlog.configure(**before)


@OPTIONS
@given(data=st.data(), situation=situations)
def test_random_documents(house: House, data: st.DataObject, situation: tuple[int, str, int]) -> None:
    house.check(data.draw(queries(schema._schema, house.pools)), situation)


@OPTIONS
@given(data=st.data(), situation=situations)
def test_trusted_documents(house: House, data: st.DataObject, situation: tuple[int, str, int]) -> None:
    text = data.draw(st.sampled_from(TRUSTED))
    house.check(data.draw(variables_for(schema._schema, house.pools, text)), situation)


@settings(OPTIONS, max_examples=max(EXAMPLES // 3, 1))
@given(
    text=from_schema(
        schema.as_str(),
        fields=tuple(schema._schema.query_type.fields),  # type: ignore[union-attr]
        custom_scalars={
            name: st.just(StringValueNode(value="2026-11-22"))
            for name in ("Date", "DateTime", "JSON")
            if name in schema._schema.type_map
        },
    ),
    situation=situations,
)
def test_documents_of_another_generator(house: House, text: str, situation: tuple[int, str, int]) -> None:
    house.check(Case(text, {}), situation)


def test_examples_reach_compiled_code(house: House) -> None:
    total = house.counts.total()
    if total < EXAMPLES:
        pytest.skip("too few random examples ran in this process to say")
    assert house.counts["refused"] < total * 0.5
    assert house.counts["whole"] > total * 0.2
    assert house.counts["with errors"] > total * 0.05
