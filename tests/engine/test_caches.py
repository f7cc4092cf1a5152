"""Fragment, response and document caches: what is kept, for whom, for how long, and how much of it."""

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import Context, publish, schema

from engine.executor import Engine, Result
from engine.fragments import FragmentCache
from engine.keys import freeze
from engine.responses import ResponseCache

GOODS = "{ goods { id title maker { name } } }"


def make_engine(**options: Any) -> Engine:
    options.setdefault("versions", lambda context: context.data.version)
    options.setdefault("language", lambda context: context.language)
    return Engine(schema, compile_after=1, **options)


def ask(engine: Engine, text: str, context: Context, variables: Any = None) -> Result:
    return asyncio.run(engine.execute(text, variables, None, context))


def plain(text: str, context: Context, variables: Any = None) -> Any:
    return asyncio.run(schema.execute(text, variables, context)).data


# -- fragments -----------------------------------------------------------------------------------------------


def test_second_answer_is_spliced_and_equal() -> None:
    cache = FragmentCache(1_000_000)
    engine, data = make_engine(fragments=cache), publish(1)
    first, second = Context(data), Context(data)
    answers = [orjson.loads(ask(engine, GOODS, context).body) for context in (first, second)]
    assert answers == [{"data": plain(GOODS, Context(data))}] * 2
    assert first.batches == [("makers", ["m0", "m1", "m2"])]
    assert second.batches == []
    assert (cache.hits, len(cache)) == (6, 9)


def test_new_entities_only_are_loaded() -> None:
    engine, data = make_engine(fragments=FragmentCache(1_000_000)), publish(1)
    text = "query ($n: Int!) { goods(first: $n) { title maker { name } } }"
    ask(engine, text, Context(data), {"n": 1})
    context = Context(data)
    result = ask(engine, text, context, {"n": 3})
    assert orjson.loads(result.body)["data"] == plain(text, Context(data), {"n": 3})
    assert context.batches == [("makers", ["m1", "m2"])]


@pytest.mark.parametrize("selection", ["secret", "mine", "guarded", "stock"])
def test_private_field_in_a_public_type_is_never_stored(selection: str) -> None:
    cache = FragmentCache(1_000_000)
    engine, data = make_engine(fragments=cache), publish(1)
    text = f"{{ goods {{ id {selection} }} }}"
    for viewer in ("anna", "bob"):
        result = ask(engine, text, Context(data, viewer))
        assert result.data == plain(text, Context(data, viewer))
        assert not result.policy.is_cacheable
    assert (len(cache), cache.bytes) == (0, 0)


def test_language_and_variables_are_part_of_the_key_where_they_are_used() -> None:
    cache = FragmentCache(1_000_000)
    engine, data = make_engine(fragments=cache), publish(1)
    text = "query ($s: String!) { goods(first: 1) { label(style: $s) } }"
    for language in ("zh", "en", "zh"):
        for style in ("bold", "thin"):
            context = Context(data, language=language)
            body = orjson.loads(ask(engine, text, context, {"s": style}).body)
            assert body == {"data": {"goods": [{"label": f"{language} {style} g0"}]}}
    assert len(cache) == 4


def test_publish_is_seen_by_the_next_request_and_never_mixed() -> None:
    cache = FragmentCache(1_000_000)
    engine = make_engine(fragments=cache, responses=ResponseCache(1_000_000))

    async def one(version: int) -> tuple[int, bytes]:
        return version, (await engine.execute(GOODS, None, None, Context(publish(version)))).body

    async def all_at_once() -> list[tuple[int, bytes]]:
        return await asyncio.gather(*(one(1 + n // 7 % 5) for n in range(200)))

    for version, body in asyncio.run(all_at_once()):
        goods = orjson.loads(body)["data"]["goods"]
        assert {good["title"].split()[-1] for good in goods} == {f"v{version}"}
        assert {good["maker"]["name"].split()[-1] for good in goods} == {f"v{version}"}


def test_bytes_stay_bounded_under_a_flood_of_entities_and_variables() -> None:
    cache = FragmentCache(40_000)
    engine, data = make_engine(fragments=cache), publish(1, 50)
    text = "query ($s: String!) { goods(first: 50) { title label(style: $s) } }"
    for n in range(60):
        ask(engine, text, Context(data), {"s": f"style {n}"})
        assert cache.bytes <= cache.max_bytes
    assert len(cache) > 0
    result = ask(engine, text, Context(data), {"s": "style 1"})
    assert orjson.loads(result.body)["data"] == plain(text, Context(data), {"s": "style 1"})


def test_an_entity_with_an_error_below_it_is_not_stored() -> None:
    cache = FragmentCache(1_000_000)
    engine, data = make_engine(fragments=cache), publish(1)
    data.makers["m1"] = ValueError("broken")  # type: ignore[assignment]
    for _ in range(2):
        result = ask(engine, GOODS, Context(data))
        assert [error.path for error in result.errors] == [["goods", 1, "maker"], ["goods", 4, "maker"]]
        assert orjson.loads(orjson.dumps(result.data)) == plain(GOODS, Context(data))
    data.makers["m1"] = data.makers["m0"]
    assert ask(engine, GOODS, Context(data)).errors == []


def test_viewers_never_receive_each_others_fields() -> None:
    engine = make_engine(fragments=FragmentCache(20_000), responses=ResponseCache(20_000))
    text = "{ viewer { name favourites { title mine maker { name } } } }"

    async def one(n: int) -> None:
        context = Context(publish(n % 3), f"viewer {n}")
        data = orjson.loads((await engine.execute(text, None, None, context)).body)["data"]["viewer"]
        assert data["name"] == f"viewer {n}"
        assert [each["mine"] for each in data["favourites"]] == [f"viewer {n} g{k}" for k in range(3)]
        assert {each["title"].split()[-1] for each in data["favourites"]} == {f"v{n % 3}"}

    async def everyone() -> None:
        for _ in range(3):
            await asyncio.gather(*(one(n) for n in range(200)))

    asyncio.run(everyone())


# -- responses -----------------------------------------------------------------------------------------------


def test_one_computation_serves_all_that_wait() -> None:
    engine, data = make_engine(responses=ResponseCache(1_000_000)), publish(1)
    contexts = [Context(data) for _ in range(50)]

    async def all_at_once() -> list[bytes]:
        results = await asyncio.gather(*(engine.execute(GOODS, None, None, context) for context in contexts))
        return [result.body for result in results]

    assert len(set(asyncio.run(all_at_once()))) == 1
    assert sum(context.calls.count("goods") for context in contexts) == 1


def test_when_the_computing_request_is_cancelled_another_takes_over() -> None:
    engine, data = make_engine(responses=ResponseCache(1_000_000)), publish(1)

    async def scenario() -> bytes:
        first = asyncio.ensure_future(engine.execute(GOODS, None, None, Context(data)))
        second = asyncio.ensure_future(engine.execute(GOODS, None, None, Context(data)))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return (await second).body

    assert orjson.loads(asyncio.run(scenario()))["data"]["goods"][0]["title"] == "good 0 v1"


def test_headers_follow_the_policies() -> None:
    engine, data = make_engine(responses=ResponseCache(1_000_000)), publish(1)
    # The relation's type declares no stale time, so the operation has none.
    assert ask(engine, GOODS, Context(data)).cache_control == "public, max-age=60"
    stored = ask(engine, GOODS, Context(data))
    assert stored.stored is not None
    assert stored.cache_control == "public, max-age=60"
    assert stored.etag == f'"{stored.etag.strip(chr(34))}"'
    assert stored.vary == ""
    assert ask(engine, "{ goods { label } }", Context(data)).vary == "Accept-Language"
    for text in ("{ undeclared { id } }", "{ viewer { name } }", "{ goods { secret } }", "{ __typename }"):
        result = ask(engine, text, Context(data))
        assert (result.cache_control, result.stored) == ("private, no-store", None)


def test_time_version_language_and_variables_separate_answers() -> None:
    now = [0.0]
    cache = ResponseCache(1_000_000, clock=lambda: now[0])
    engine = make_engine(responses=cache)
    data = publish(1)
    text = "query ($n: Int) { goods(first: $n) { label } }"

    def calls(context: Context, variables: Any) -> int:
        ask(engine, text, context, variables)
        return context.calls.count("goods")

    assert calls(Context(data), {"n": 1}) == 1
    assert calls(Context(data), {"n": 1}) == 0
    assert calls(Context(data), {"n": 1, "unused": 2}) == 0
    assert calls(Context(data), {"n": 2}) == 1
    assert calls(Context(data, language="en"), {"n": 1}) == 1
    assert calls(Context(publish(2)), {"n": 1}) == 1
    now[0] = 59.0
    assert calls(Context(data), {"n": 1}) == 0
    now[0] = 60.0
    assert calls(Context(data), {"n": 1}) == 1


class Shelf:
    """A shared store in this process."""

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[bytes, float]] = {}

    async def get(self, key: bytes) -> tuple[bytes, float] | None:
        return self.kept.get(key)

    async def set(self, key: bytes, body: bytes, max_age_s: int) -> None:
        self.kept[key] = (body, max_age_s / 2)


def test_processes_share_answers() -> None:
    shelf, data = Shelf(), publish(1)
    first, second = (make_engine(responses=ResponseCache(1_000_000), shared=shelf) for _ in range(2))
    one, other = Context(data), Context(data)
    assert ask(first, GOODS, one).body == ask(second, GOODS, other).body
    assert (one.calls, other.calls) == (["goods"], [])
    assert (len(shelf.kept), len(second.responses or ())) == (1, 1)


def test_stored_answers_know_their_key_and_keep_codings_within_the_bounds() -> None:
    cache = ResponseCache(1_000_000)
    engine, context = make_engine(responses=cache), Context(publish(1))
    stored = ask(engine, GOODS, context).stored
    assert stored is not None
    assert cache.find(stored.key) is stored
    before = cache.bytes
    cache.add_coding(stored, "br", b"12345")
    cache.add_coding(stored, "br", b"123456789")
    assert (stored.codings, cache.bytes - before) == ({"br": b"12345"}, 5)
    cache.clear()
    cache.add_coding(stored, "gzip", b"12345")
    assert (stored.codings, cache.bytes) == ({"br": b"12345"}, 0)


def test_answers_with_errors_are_not_kept() -> None:
    cache = ResponseCache(1_000_000)
    engine = make_engine(responses=cache)
    for _ in range(2):
        assert ask(engine, "{ failing }", Context(publish(1))).cache_control == "private, no-store"
    assert len(cache) == 0


def test_response_bytes_stay_bounded_under_a_flood() -> None:
    cache = ResponseCache(50_000)
    engine, data = make_engine(responses=cache), publish(1)
    text = "query ($s: String!) { goods(first: 1) { label(style: $s) } }"
    for n in range(300):
        ask(engine, text, Context(data), {"s": "x" * (n % 40) + str(n)})
        assert cache.bytes <= cache.max_bytes
    assert 0 < len(cache) < 100


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, 2.5, "", "1", "a", "None"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "1"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(VALUES, VALUES)
def test_keys_are_equal_only_for_equal_values(one: Any, other: Any) -> None:
    same = orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    assert (freeze(one) == freeze(other)) == same
    assert not same or hash(freeze(one)) == hash(freeze(other))


# -- documents -----------------------------------------------------------------------------------------------


def test_a_flood_of_unique_and_invalid_documents_leaves_the_persisted_ones() -> None:
    engine = Engine(schema, max_documents=50, max_document_bytes=2_000_000)
    persisted = engine.persist("goods", GOODS)
    warm = engine.prepare("{ goods { id } }")
    engine.prepare("{ goods { id } }")
    for n in range(400):
        engine.prepare(f"{{ a{n}: goods {{ id }} }}")
        engine.prepare(f"{{ missing{n} }}")
        engine.prepare(f"{{ broken {n}")
    assert engine.persisted("goods") is persisted
    assert engine.prepare(GOODS) is persisted
    assert engine.prepare("{ goods { id } }") is warm
    assert len(engine.documents) <= 50
    assert engine.documents.bytes <= 2_000_000
    assert engine.compiled == 1


def test_a_document_compiles_when_it_comes_again() -> None:
    engine = Engine(schema, compile_after=3)
    reasons = [ask(engine, GOODS, Context(publish(1))).reason for _ in range(4)]
    assert reasons == ["not seen often enough", "not seen often enough", None, None]


def test_persisting_a_wrong_document_says_why() -> None:
    with pytest.raises(ValueError, match="bad: Cannot query field 'missing' on type 'Query'"):
        Engine(schema).persist("bad", "{ missing }")
