"""Objects whose values were looked at when they were made: answers equal graphql-core's in every case."""

import asyncio
import datetime
import json
from enum import Enum
from typing import Any, ClassVar

import orjson
import pytest
import strawberry
from hypothesis import given
from hypothesis import strategies as st
from test_differential import errors_of

from engine.executor import Engine
from engine.relation import relation
from engine.typed import Typed, field_classes
from engine.vetting import source_classes

EAST = datetime.timezone(datetime.timedelta(hours=8))


class Hue(Enum):
    RED = "r"
    GREEN = "g"


class CoinView(Typed):
    id: str
    label: str | None
    cents: int
    weight: float
    rare: bool
    hue: Hue
    minted: datetime.datetime
    day: datetime.date | None
    tags: list[str]
    number: int | None = None
    owner: Any = None


class ForgedView(CoinView):
    """Is a coin by its class, but its label is no text."""

    @property
    def label(self) -> Any:
        return 7 if MeltedView.melted else None


class MeltedView(CoinView):
    """Is a coin by its class, but its label cannot be read later."""

    melted: ClassVar[bool] = False

    @property
    def label(self) -> str | None:
        if MeltedView.melted:
            raise ValueError("melted")
        return None


@strawberry.type
class Coin:
    is_type_of = source_classes(CoinView)
    id: strawberry.ID
    label: str | None
    cents: int
    weight: float
    rare: bool
    hue: strawberry.enum(Hue, name="Hue")  # type: ignore[valid-type]
    minted: datetime.datetime
    day: datetime.date | None
    tags: list[str]
    number: int


def load_coins(keys: list[str], context: dict[str, Any]) -> list[Any]:
    return [context["coins"][int(key)] for key in keys]


@strawberry.type
class Slot:
    id: str
    coin: Coin | None = relation(load_coins, key="id")


@strawberry.type
class Query:
    @strawberry.field
    def coins(self, info: strawberry.Info) -> list[Coin | None]:
        return info.context["coins"]  # type: ignore[no-any-return]

    @strawberry.field
    def slots(self, info: strawberry.Info) -> list[Slot]:
        return [Slot(id=str(number)) for number in range(len(info.context["coins"]))]


SCHEMA = strawberry.Schema(Query)
FIELDS = "id label cents weight rare hue minted day tags"
TEXT = f"{{ coins {{ {FIELDS} }} slots {{ coin {{ {FIELDS} }} }} }}"
VALUES = st.fixed_dictionaries(
    {
        "id": st.text(max_size=5),
        "label": st.none() | st.text(max_size=5),
        "cents": st.integers(-(2**31), 2**31 - 1) | st.sampled_from([2**31 - 1, -(2**31), 2**30]),
        "weight": st.floats(allow_nan=False, allow_infinity=False),
        "rare": st.booleans(),
        "hue": st.sampled_from(Hue),
        "minted": st.datetimes(timezones=st.just(datetime.UTC)),
        "day": st.none() | st.dates(),
        "tags": st.lists(st.text(max_size=3), max_size=2),
    }
)
CLASSES = st.sampled_from([CoinView, CoinView, CoinView, ForgedView, MeltedView])
COINS = st.lists(st.none() | st.tuples(CLASSES, VALUES), max_size=4)


def ask(coins: list[Any], text: str = TEXT) -> tuple[Any, Any]:
    engine = Engine(SCHEMA, compile_after=1)

    async def both() -> tuple[Any, Any]:
        ours = await engine.execute(text, None, None, {"coins": coins})
        return ours, await SCHEMA.execute(text, None, {"coins": coins})

    ours, theirs = asyncio.run(both())
    assert ours.reason is None
    return ours, theirs


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@given(COINS)
def test_answers_equal_those_of_graphql_core(made: list[Any]) -> None:
    coins = [each if each is None else each[0](**each[1]) for each in made]
    MeltedView.melted = True
    try:
        ours, theirs = ask(coins)
    finally:
        MeltedView.melted = False
    assert errors_of(ours.errors) == errors_of(theirs.errors)
    assert ours.data == theirs.data
    assert json.loads(ours.body).get("data") == json.loads(orjson.dumps(theirs.data))


def coin(**changes: Any) -> CoinView:
    minted = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)
    values = {
        "id": "a",
        "label": None,
        "cents": 1,
        "weight": 1.5,
        "rare": True,
        "hue": Hue.RED,
        "minted": minted,
    }
    return CoinView(**{**values, "day": None, "tags": ["x"], **changes})  # type: ignore[arg-type]


def test_usual_objects_are_read_without_a_look_at_their_values() -> None:
    source = Engine(SCHEMA).source(TEXT)
    written = source.split("def quick_by_key_")[1].split("def ")[0]
    assert (
        "(o.id, o.label, o.cents, o.weight, o.rare, o.hue._name_, instants[o.minted], "
        "(None if (v := o.day) is None else v.isoformat()), "
    ) in written


def test_a_null_in_a_field_that_may_not_be_null_is_an_error() -> None:
    ours, theirs = ask([coin(number=None), coin(number=2)], "{ coins { number } }")
    assert ours.data == theirs.data == {"coins": [None, {"number": 2}]}
    assert errors_of(ours.errors) == errors_of(theirs.errors)
    assert len(ours.errors) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 7}, "CoinView.id is int, not str"),
        ({"label": b""}, "CoinView.label is bytes, not NoneType or str"),
        ({"cents": True}, "CoinView.cents is bool, not int"),
        ({"hue": "r"}, "CoinView.hue is str, not Hue"),
        ({"weight": 1}, "CoinView.weight is int, not float"),
    ],
)
def test_values_of_other_classes_are_refused_when_they_are_made(changes: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        coin(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cents": 2**31}, "CoinView.cents is not within 32 bits"),
        ({"number": -(2**31) - 1}, "CoinView.number is not within 32 bits"),
        ({"weight": float("nan")}, "CoinView.weight is not finite"),
        ({"weight": float("-inf")}, "CoinView.weight is not finite"),
        ({"minted": datetime.datetime(2026, 11, 28)}, "CoinView.minted is not in UTC"),
        ({"minted": datetime.datetime(2026, 11, 28, tzinfo=EAST)}, "CoinView.minted is not in UTC"),
    ],
)
def test_values_out_of_bounds_are_refused_when_they_are_made(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        coin(**changes)


def test_a_member_that_the_schema_names_otherwise_or_not_at_all() -> None:
    class Shape(Enum):
        ROUND = "o"
        FLAT = "_"

    class DiscView(Typed):
        shape: Shape

    @strawberry.enum(name="Shape")
    class Named(Enum):
        ROUND = strawberry.enum_value("o", name="CIRCULAR")
        FLAT = "_"

    @strawberry.type
    class Disc:
        is_type_of = source_classes(DiscView)
        shape: Named

    @strawberry.type
    class DiscQuery:
        @strawberry.field
        def discs(self, info: strawberry.Info) -> list[Disc | None]:
            return info.context["discs"]  # type: ignore[no-any-return]

    schema = strawberry.Schema(DiscQuery)
    for members in (Named, Shape):
        context = {
            "make": lambda each: DiscView(each) if type(each) is Shape else Disc(each),
            "enum": members,
        }
        engine = Engine(schema, compile_after=1)
        ours = asyncio.run(engine.execute("{ discs { shape } }", None, None, context))
        theirs = asyncio.run(schema.execute("{ discs { shape } }", None, context))
        assert ours.data == theirs.data
        assert errors_of(ours.errors) == errors_of(theirs.errors)


def test_only_classes_are_looked_at() -> None:
    checked = field_classes(CoinView)
    assert "tags" not in checked
    assert "owner" not in checked
    assert checked["label"] == {str, type(None)}
    assert coin(owner=object(), tags=[1]).owner is not None
