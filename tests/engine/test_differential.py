"""The engine and graphql-core give the same answer, byte for byte, errors in the same order."""

import asyncio
import gc
import json
import logging
import os
from collections import Counter
from typing import Any

import orjson
import pytest
from differences import DIFFERENCES
from graphql import execute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from strategies import cases
from strawberry.execution import optimized_is_awaitable
from world import make_world, schema

from engine.documents import Prepared
from engine.executor import Engine, Result, dump

# graphql-core drops coroutines of fields that it cancelled before they started; in both of its runs.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine '(Executor|GraphQLCoreConverter).*was never awaited:RuntimeWarning"
)
EXAMPLES = int(os.environ.get("MINTONG_DIFFERENTIAL_EXAMPLES", "2000"))
COUNTS: Counter[str] = Counter()


@pytest.fixture(scope="module")
def loop() -> Any:
    logging.getLogger("strawberry.execution").disabled = True
    loop = asyncio.new_event_loop()
    gc.disable()
    yield loop
    # graphql-core leaves what it gave up to the loop.
    while left := asyncio.all_tasks(loop):
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
    gc.collect()
    gc.enable()
    logging.getLogger("strawberry.execution").disabled = False


def errors_of(errors: Any) -> list[Any]:
    return [
        (error.message, [tuple(place) for place in error.locations or ()], error.path)
        for error in errors or ()
    ]


async def reference(prepared: Prepared, variables: dict[str, Any], context: dict[str, Any]) -> Any:
    """Execute as `schema.execute` does; a document that was validated is not validated again."""
    if prepared.document is None or prepared.errors:
        return await schema.execute(prepared.text, variables, context)
    result = execute(
        schema._schema,
        prepared.document,
        context_value=context,
        variable_values=variables,
        is_awaitable=optimized_is_awaitable,
        executor_class=schema.execution_context_class,
        operation_extensions=None,
    )
    return await result if optimized_is_awaitable(result) else result


def run_both(
    loop: Any, text: str, variables: dict[str, Any], faults: list[Any], broken: tuple[str, ...]
) -> tuple[Any, Result, list[Any]]:
    def context() -> dict[str, Any]:
        return {"world": make_world(faults, broken), "calls": [], "batches": []}

    ours, theirs = context(), context()
    engine = Engine(schema, compile_after=1)
    prepared = engine.prepare(text)
    expected = loop.run_until_complete(reference(prepared, variables, theirs))
    loop.run_until_complete(_turns())
    result = loop.run_until_complete(engine.execute(prepared, variables, None, ours))
    loop.run_until_complete(_turns())
    return expected, result, [theirs, ours]


async def _turns() -> None:
    """Let tasks that graphql-core abandoned call the resolvers that they were about to call."""
    for _ in range(3):
        await asyncio.sleep(0)


def check_body(result: Result, data: Any) -> None:
    """Compare with what the serialiser of graphql-core's answers writes, or refuses."""
    try:
        expected = dump({"data": data})
    except TypeError:
        with pytest.raises(TypeError):
            _ = result.body
        return
    assert json.loads(result.body) == json.loads(expected)


def check(
    loop: Any, text: str, variables: dict[str, Any], faults: list[Any], broken: tuple[str, ...]
) -> None:
    expected, result, (theirs, ours) = run_both(loop, text, variables, faults, broken)
    assert result.reason in (None, "a condition that is not a boolean")
    if COUNTS.total() % 300 == 0:
        # A dropped coroutine that automatic collection finds may be out of reach of the filter above.
        gc.collect()
    COUNTS["refused" if not result.executed else "core" if result.reason else "compiled"] += 1
    COUNTS["with errors"] += bool(result.executed and result.errors)
    COUNTS["with several errors"] += result.executed and len(result.errors) > 1
    assert errors_of(result.errors) == errors_of(expected.errors)
    assert orjson.dumps(result.data, default=repr) == orjson.dumps(expected.data, default=repr)
    if result.executed and not result.errors:
        check_body(result, expected.data)
    twice = [call for call, times in Counter(ours["calls"]).items() if times > 1]
    assert twice == []
    assert set(map(str, theirs["calls"])) <= set(map(str, ours["calls"]))
    if not result.errors:
        assert Counter(map(str, theirs["calls"])) == Counter(map(str, ours["calls"]))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
    derandomize="MINTONG_DIFFERENTIAL_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(cases())
def test_random_documents(loop: Any, case: Any) -> None:
    check(loop, *case)


@settings(max_examples=max(EXAMPLES // 10, 50), deadline=None, derandomize=True, report_multiple_bugs=False)
@given(cases(), st.integers(1, 3))
def test_resolvers_that_wait(loop: Any, case: Any, pauses: int) -> None:
    """Which of several errors wins may depend on time then; the data may not, nor a single error."""
    text, variables, faults, broken = case
    contexts = [{"world": make_world(faults, broken), "calls": [], "batches": []} for _ in range(2)]
    for context in contexts:
        context["world"]["pauses"] = pauses
    engine = Engine(schema, compile_after=1)
    prepared = engine.prepare(text)
    expected = loop.run_until_complete(reference(prepared, variables, contexts[0]))
    result = loop.run_until_complete(engine.execute(prepared, variables, None, contexts[1]))
    assert orjson.dumps(result.data, default=repr) == orjson.dumps(expected.data, default=repr)
    if len(expected.errors or ()) <= 1 and len(result.errors) <= 1:
        assert errors_of(result.errors) == errors_of(expected.errors)
    assert [call for call, times in Counter(contexts[1]["calls"]).items() if times > 1] == []


def test_examples_reach_compiled_code() -> None:
    total = sum(COUNTS[name] for name in ("refused", "core", "compiled"))
    if total < 1000:
        pytest.skip("too few random examples ran in this process to say")
    assert COUNTS["compiled"] > total * 0.7
    assert COUNTS["with errors"] > total * 0.2
    assert COUNTS["with several errors"] > total * 0.05


@pytest.mark.parametrize(("text", "variables", "faults", "broken"), DIFFERENCES)
def test_found_differences(loop: Any, text: str, variables: Any, faults: Any, broken: Any) -> None:
    check(loop, text, variables, faults, broken)
