"""Every guarded field against every role and level, compared with the committed matrix.

`MINTONG_UPDATE_MATRIX=1 pytest tests/resolvers/test_access_matrix.py` writes it anew; review the difference.
"""

from __future__ import annotations

import csv
import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import strawberry
from graphql import GraphQLObjectType
from strawberry.types import Info
from strawberry.types.field import StrawberryField

from domain.access import Assurance, Role, Viewer, decide
from domain.errors import DomainError
from resolvers.access import GUARDED, Allowed, allow, public, require_rules, rules
from resolvers.context import Context
from resolvers.schema import schema

MATRIX = Path(__file__).with_name("access_matrix.csv")
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SHORT = {"UNAUTHENTICATED": "sign-in", "FORBIDDEN": "no", "ASSURANCE_TOO_LOW": "level"}


def viewer(role: Role, level: Assurance) -> Viewer:
    agent, desk = role is Role.AGENT, role is Role.DESK
    return Viewer(
        account_id="a",
        session_id="s",
        roles=frozenset({role}),
        assurance=level,
        expires_at=NOW + timedelta(minutes=1),
        company_code="91350100M000100Y43" if agent else None,
        unit="12345" if desk else None,
        division_code="350100" if desk else None,
    )


VIEWERS: dict[str, Viewer | None] = {"nobody": None} | {
    f"{role.value} {level.name}": viewer(role, level) for role in Role for level in Assurance
}


def matrix(of: strawberry.Schema) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["field", *VIEWERS])
    for name, rule in rules(of):
        row = []
        for each in VIEWERS.values():
            try:
                decide(rule, each, now=NOW)
                row.append("yes")
            except DomainError as error:
                row.append(SHORT[error.code])
        writer.writerow([name, *row])
    return out.getvalue()


def test_the_matrix_is_the_committed_one() -> None:
    now = matrix(schema)
    if os.environ.get("MINTONG_UPDATE_MATRIX") == "1":
        MATRIX.write_text(now, "utf-8")
    assert now == MATRIX.read_text("utf-8")


def test_every_guarded_field_is_in_the_matrix_and_enforced() -> None:
    named = {row.partition(",")[0] for row in MATRIX.read_text("utf-8").splitlines()[1:]}
    for name in GUARDED:
        type_ = schema._schema.type_map.get(name)
        if not isinstance(type_, GraphQLObjectType):
            continue
        for field_name, field in type_.fields.items():
            assert f"{name}.{field_name}" in named
            definition = field.extensions["strawberry-definition"]
            assert isinstance(definition, StrawberryField)
            guards = [each for each in definition.permission_classes if issubclass(each, Allowed)]
            # What is public needs no guard; everything else has exactly one.
            assert len(guards) <= 1
            if name in ("Viewer", "Desk", "Mutation", "Subscription"):
                assert guards, f"{name}.{field_name}"


def test_only_these_mutations_are_for_everybody() -> None:
    everybody = [name for name, rule in rules(schema) if rule is not None and rule.is_public]
    assert [name for name in everybody if not name.startswith("Query.")] == [
        "Mutation.deleteMedia",
        "Mutation.refreshSession",
        "Mutation.requestSignInCode",
        "Mutation.signIn",
        "Mutation.signInByWechat",
    ]


@strawberry.type
class Query:
    @strawberry.field(permission_classes=[public()])
    def open(self) -> str:
        return "open"

    @strawberry.field
    def forgotten(self) -> str:
        return "secret"

    @strawberry.field(permission_classes=[allow(Role.OPERATOR, level=Assurance.L2)])
    def guarded(self, info: Info[Context, None]) -> str:
        return "guarded"


def context(viewer: Viewer | None) -> Context:
    return Context(
        catalogue=None,
        catalogue_freshness=lambda: None,
        views=None,  # type: ignore[arg-type]
        language="zh",
        request_id="r",
        now=NOW,
        viewer=viewer,
    )


def test_a_schema_with_a_field_without_a_rule_is_not_built() -> None:
    bare = strawberry.Schema(query=Query)
    with pytest.raises(TypeError, match=r"no rule says for whom these are: Query\.forgotten$"):
        require_rules(bare)
    with pytest.raises(ValueError, match="needs a role"):
        allow()


@pytest.mark.parametrize("name", VIEWERS)
def test_what_the_matrix_says_is_what_happens(name: str) -> None:
    bare = strawberry.Schema(query=Query)
    result = bare.execute_sync("{ open }", context_value=context(VIEWERS[name]))
    assert (result.data, result.errors) == ({"open": "open"}, None)
    result = bare.execute_sync("{ guarded }", context_value=context(VIEWERS[name]))
    allowed = name in ("OPERATOR L2", "OPERATOR L3")
    assert result.data == ({"guarded": "guarded"} if allowed else None)
    if not allowed:
        assert result.errors is not None
        code = {"nobody": "UNAUTHENTICATED", "OPERATOR L1": "ASSURANCE_TOO_LOW"}.get(name, "FORBIDDEN")
        assert [type(error.original_error).code for error in result.errors] == [code]  # type: ignore[union-attr]
