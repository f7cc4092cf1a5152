"""The schema is a promise: committed, and described to the last argument."""

from pathlib import Path

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    is_introspection_type,
    is_specified_scalar_type,
)

from resolvers.schema import schema

ROOT = Path(__file__).resolve().parents[2]


def undescribed() -> list[str]:
    missing = []
    for name, kind in schema._schema.type_map.items():
        if is_introspection_type(kind) or is_specified_scalar_type(kind):
            continue
        if not kind.description:
            missing.append(name)
        if isinstance(kind, GraphQLEnumType):
            missing += [f"{name}.{value}" for value, known in kind.values.items() if not known.description]
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field_name, field in kind.fields.items():
                if not field.description:
                    missing.append(f"{name}.{field_name}")
                for argument_name, argument in getattr(field, "args", {}).items():
                    if not argument.description:
                        missing.append(f"{name}.{field_name}({argument_name})")
    return missing


def test_everything_a_client_sees_is_described() -> None:
    assert undescribed() == []


def test_the_committed_schema_is_the_codes() -> None:
    committed = (ROOT / "schema.graphql").read_text("utf-8")
    assert committed.strip() == schema.as_str().strip()


def test_the_clients_contract_is_kept() -> None:
    query = schema._schema.query_type
    assert query is not None
    contract = {
        "categories": [],
        "serviceItem": ["id"],
        "serviceItems": ["ids"],
        "searchServiceItems": ["text", "filter", "sort", "first", "after"],
        "suggestServiceItems": ["prefix", "divisionCode", "first"],
        "popularServiceItems": ["divisionCode", "categoryCode", "first"],
        "newestServiceItems": ["divisionCode", "categoryCode", "first"],
        "divisions": ["parentCode"],
        "division": ["code"],
        "departments": ["divisionCode", "first", "after"],
    }
    assert {name: list(query.fields[name].args) for name in contract} == contract
