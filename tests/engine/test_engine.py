"""Relations with and without the engine, what is not compiled, cancellation, timeouts, explanations."""

import asyncio
from typing import Any

import pytest
import strawberry
from graphql import GraphQLError, parse
from shop import Context, publish, schema
from strawberry.extensions import SchemaExtension

from engine.executor import Engine, Result
from engine.relation import SharedLoader, unbatched_fields

TEXT = "{ goods(first: 3) { id maker { name } stock(least: 1) } }"


def ask(text: str, context: Context, variables: Any = None, **options: Any) -> Result:
    return asyncio.run(Engine(schema, compile_after=1).execute(text, variables, None, context, **options))


def messages(errors: Any) -> list[tuple[str, Any]]:
    return [(error.message, error.path) for error in errors or ()]


def test_a_relation_is_one_batch_with_and_without_the_engine() -> None:
    ours, theirs = Context(publish(1)), Context(publish(1))
    result = ask(TEXT, ours)
    expected = asyncio.run(schema.execute(TEXT, None, theirs))
    assert result.data == expected.data
    assert result.reason is None
    assert ours.batches == [("makers", ["m0", "m1", "m2"]), ("stock", ["g0", "g1", "g2"])]
    assert sorted(theirs.batches) == ours.batches


def test_equal_keys_are_asked_for_once_and_null_keys_not_at_all() -> None:
    data = publish(1, 6)
    data.goods[1] = type(data.goods[1])("g1", "no maker", None)
    context = Context(data)
    result = ask("{ goods { maker { id } } }", context)
    ids = [good["maker"] and good["maker"]["id"] for good in result.data["goods"]]
    assert ids == ["m0", None, "m2", "m0", "m1", "m2"]
    assert context.batches == [("makers", ["m0", "m2", "m1"])]


@pytest.mark.parametrize(("viewer", "allowed"), [("anna", True), ("bob", False)])
def test_permissions_keep_their_meaning(viewer: str, allowed: bool) -> None:
    text = "{ goods(first: 2) { id guarded } }"
    ours, theirs = Context(publish(1), viewer), Context(publish(1), viewer)
    result, expected = ask(text, ours), asyncio.run(schema.execute(text, None, theirs))
    assert result.data == expected.data
    assert messages(result.errors) == messages(expected.errors)
    assert ours.batches == theirs.batches == ([("stock", ["g0", "g1"])] if allowed else [])


def test_a_slow_batch_becomes_the_error_of_its_field() -> None:
    text = "{ viewer { name } goods(first: 2) { id maker { name } } failing }"
    slow = "{ viewer { name } maybe: goods(first: 2) { stock } }"
    context = Context(publish(1), delay_s=0.5)
    assert ask(text, context).data["viewer"] == {"name": "nobody"}
    result = ask(slow, Context(publish(1), delay_s=0.5))
    assert result.data is None
    assert messages(result.errors) == [("load_stock took longer than 0.05 s", ["maybe", 0, "stock"])]
    expected = asyncio.run(schema.execute(slow, None, Context(publish(1), delay_s=0.5)))
    assert messages(expected.errors) == messages(result.errors)


def test_cancelling_the_request_cancels_everything_in_flight() -> None:
    context = Context(publish(1), delay_s=5)

    async def scenario() -> None:
        engine = Engine(schema, compile_after=1)
        text = "{ slow goods { guarded id } undeclared { stock } }"
        request = asyncio.ensure_future(engine.execute(text, None, None, context))
        await asyncio.sleep(0.02)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    context.viewer = "anna"
    asyncio.run(scenario())
    assert "slow cancelled" in context.calls
    assert "stock cancelled" in context.calls


def test_a_cancelled_field_leaves_shared_values_to_the_others() -> None:
    seen: list[str] = []

    async def load(keys: list[str]) -> list[str]:
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return [key.upper() for key in keys]

    async def scenario(cancelled: int) -> list[Any]:
        loader = SharedLoader(load)
        waiting = [asyncio.ensure_future(loader.wait("a")) for _ in range(2)]
        await asyncio.sleep(0.01)
        for task in waiting[:cancelled]:
            task.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0.02)
        return [result if isinstance(result, str) else type(result) for result in results]

    assert asyncio.run(scenario(1)) == [asyncio.CancelledError, "A"]
    assert seen == []
    assert asyncio.run(scenario(2)) == [asyncio.CancelledError] * 2
    assert seen == ["cancelled"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{ __schema { queryType { name } } }", "introspection"),
        ('{ __type(name: "Good") { name } }', "introspection"),
        ("{ goods { __typename } }", None),
    ],
)
def test_what_is_not_compiled_runs_on_graphql_core(text: str, reason: str | None) -> None:
    result = ask(text, Context(publish(1)))
    assert result.reason == reason
    assert result.data == asyncio.run(schema.execute(text, None, Context(publish(1)))).data


def test_schema_extensions_are_respected() -> None:
    seen: list[str] = []

    class Watch(SchemaExtension):
        def on_execute(self) -> Any:
            seen.append("execute")
            yield

    @strawberry.type
    class Query:
        @strawberry.field
        def hello(self) -> str:
            return "world"

    engine = Engine(strawberry.Schema(Query, extensions=[Watch]), compile_after=1)
    result = asyncio.run(engine.execute("{ hello }"))
    assert (result.data, result.reason) == ({"hello": "world"}, "schema extension Watch")
    assert seen == ["execute"]


def test_limits_and_costs_are_asked_once_per_document() -> None:
    asked: list[str] = []

    def limits(document: Any) -> list[GraphQLError]:
        asked.append("limits")
        return [GraphQLError("too big")] if len(document.definitions) > 1 else []

    def cost(document: Any, operation: Any) -> int:
        asked.append("cost")
        return 7

    engine = Engine(schema, limits=limits, cost=cost, compile_after=1)
    for _ in range(3):
        result = asyncio.run(engine.execute("{ goods { id } }", None, None, Context(publish(1))))
        assert result.errors == []
    assert asked == ["limits", "cost"]
    assert engine.prepare("{ goods { id } }").find(None).cost == 7  # type: ignore[union-attr]
    refused = asyncio.run(engine.execute("query A { goods { id } } query B { goods { id } }"))
    assert refused.payload() == {"errors": [{"message": "too big"}]}


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("query A { __typename } query B { __typename }", None, "Must provide operation name"),
        ("query A { __typename }", "C", "Unknown operation named 'C'."),
        ("fragment F on Query { __typename }", None, "Fragment 'F' is never used."),
        ("{ oops", None, "Syntax Error"),
    ],
)
def test_requests_that_cannot_run(text: str, name: str | None, message: str) -> None:
    result = asyncio.run(Engine(schema).execute(text, None, name, Context(publish(1))))
    assert result.errors[0].message.startswith(message)
    assert "data" not in result.payload()


def test_explanation_names_batches_calls_and_levels() -> None:
    explanation = ask(TEXT, Context(publish(1)), explain=True).explanation
    assert explanation is not None
    told = explanation.as_dict()
    assert told["compiled"] is True
    assert told["batches"] == [
        {"field": "Good.maker", "objects": 3, "keys": 3},
        {"field": "Good.stock", "objects": 3, "keys": 3},
    ]
    assert told["resolvers"] == [{"field": "Query.goods", "calls": 1}]
    assert {level["type"]: level["objects"] for level in told["levels"]} == {
        "Maker": 3,
        "Good": 3,
        "Query": 1,
    }
    assert "def level_" in explanation.as_text()
    not_compiled = ask("{ __schema { description } }", Context(publish(1)), explain=True).explanation
    assert not_compiled is not None
    assert not_compiled.as_text().startswith("not compiled: introspection")


def test_source_is_shown_or_the_reason_why_there_is_none() -> None:
    engine = Engine(schema)
    assert "o.title" in engine.source("{ goods { title } }")
    assert engine.source("{ __schema { description } }") == "# not compiled: introspection\n"
    with pytest.raises(ValueError, match="Cannot query field"):
        engine.source("{ nothing }")


def test_lint_names_each_field_called_once_per_object_of_a_list() -> None:
    assert unbatched_fields(schema) == ["Good.guarded", "Good.label", "Good.mine"]
    assert unbatched_fields(schema, allowed=["Good.label", "Good.mine"]) == ["Good.guarded"]


def test_info_is_true() -> None:
    seen: list[Any] = []

    @strawberry.type
    class Leaf:
        name: str

        @strawberry.field
        def where(self, info: strawberry.Info, n: int = 1) -> str:
            raw = info._raw_info
            seen.append((info.path.as_list(), info.field_name, info.variable_values, raw.parent_type.name))
            assert [node.name.value for node in raw.field_nodes] == ["where"]
            assert (info.context, info.root_value, raw.operation.name.value) == ({"c": 1}, "root", "Op")
            return str(info.selected_fields[0].name)

    @strawberry.type
    class Query:
        @strawberry.field
        def rows(self) -> list[list[Leaf]]:
            return [[Leaf(name="a")], [Leaf(name="b"), Leaf(name="c")]]

    small = strawberry.Schema(Query)
    text = "query Op($n: Int = 3) { r: rows { x: where(n: $n) } }"
    asyncio.run(Engine(small, compile_after=1).execute(text, None, None, {"c": 1}, "root"))
    ours = list(seen)
    seen.clear()
    asyncio.run(small.execute(text, None, {"c": 1}, "root"))
    assert ours == seen
    assert [each[0] for each in ours] == [["r", 0, 0, "x"], ["r", 1, 0, "x"], ["r", 1, 1, "x"]]


def test_prepared_operations_say_their_kind() -> None:
    prepared = Engine(schema).prepare("{ __typename }")
    assert prepared.document is not None
    assert prepared.find(None).kind == "query"  # type: ignore[union-attr]
    assert parse(prepared.text).definitions[0].kind == "operation_definition"
