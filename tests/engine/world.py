"""A schema with every feature and a small world of objects in which any value can be made to misbehave."""

import asyncio
import datetime
import decimal
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, NewType, Optional

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.types.info import Info

from engine.relation import relation
from engine.vetting import source_classes


class Soon:
    """An awaitable attribute: gives a value, or raises, when awaited."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Soon({self.value!r})"

    def __await__(self) -> Iterator[Any]:
        if isinstance(self.value, Raise):
            raise self.value.error()
        return self.value
        yield


class Raise:
    """A value that raises when it is read."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Raise({self.text!r})"

    def error(self) -> Exception:
        return ValueError(self.text)


class Steps:
    """An iterable made anew for each reading; it may end with an error."""

    def __init__(self, items: list[Any], *, ends: bool, late: bool) -> None:
        self.items, self.ends, self.late = items, ends, late

    def __repr__(self) -> str:
        return f"Steps({self.items!r}, ends={self.ends}, late={self.late})"

    def make(self) -> Any:
        return LateSteps(self) if self.late else NowSteps(self)


class NowSteps:
    """Equal in text to another reading of the same steps."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.at = steps, 0

    def __repr__(self) -> str:
        return repr(self.steps)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if self.at < len(self.steps.items):
            self.at += 1
            return self.steps.items[self.at - 1]
        if self.steps.ends:
            raise RuntimeError("the iterator broke")
        raise StopIteration


class LateSteps(NowSteps):
    __iter__ = None

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            return self.__next__()
        except StopIteration:
            raise StopAsyncIteration from None


def reader(name: str) -> Any:
    def read(self: Any) -> Any:
        return given(self.values.get(name))

    return property(read)


def given(value: Any) -> Any:
    if isinstance(value, Raise):
        raise value.error()
    if isinstance(value, Steps):
        return value.make()
    return value


PLAIN = (
    "id",
    "name",
    "label",
    "number",
    "ratio",
    "flag",
    "color",
    "price",
    "day",
    "moment",
    "amount",
    "blob",
)
LISTS = ("tags", "grid", "marks", "colors")
LINKS = ("peer", "rival", "things", "nodes", "rows", "maybes")
KEYS = ("friend_id", "group_id")
RESOLVED = ("slow", "quick", "must", "must_soon", "late_peer", "late_peers", "crowd")
LOADED = ("friends_by_id", "groups_by_id", "members_by_id", "scores_by_id")
ATTRIBUTES = (*PLAIN, *LISTS, *LINKS, *KEYS, *RESOLVED)


class AlphaView:
    __slots__ = ("calls", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.values['number']!r}>"


class BetaView(AlphaView):
    __slots__ = ()


class GammaView(AlphaView):
    """Has a dict, so that strawberry could have cast an instance."""


for _name in (*PLAIN, *LISTS, *LINKS, *KEYS):
    setattr(AlphaView, _name, reader(_name))


class Hue(Enum):
    RED = "r"
    GREEN = "g"
    BLUE = "b"


Color = strawberry.enum(Hue, name="Color")


def _write_cents(value: Any) -> Any:
    if value == 13:
        raise ValueError("13 cents cannot be written")
    return None if value == 0 else f"{value}c"


def _read_cents(value: Any) -> int:
    if not isinstance(value, str) or not value.endswith("c"):
        raise ValueError("cents end in c")
    return int(value[:-1])


Cents = NewType("Cents", int)
CENTS = strawberry.scalar(name="Cents", serialize=_write_cents, parse_value=_read_cents)


@strawberry.input
class Range:
    low: int
    high: int | None = 9
    colors: list[Color] | None = None
    inner: Optional["Range"] = None


async def pause(context: Any) -> None:
    """Let others run first, where the world says so."""
    for _ in range(context["world"].get("pauses", 0)):
        await asyncio.sleep(0)


def record(info: Info, source: Any) -> Any:
    """Note a call and return the value that the world has for the field."""
    info.context["calls"].append((str(info.path.as_list()), info.path.typename, info.field_name))
    return source.values.get(info.python_name)


async def load_friends(keys: list[str], context: dict[str, Any]) -> list[Any]:
    await pause(context)
    return answer(keys, context, "friends")


def load_groups(keys: list[str], context: dict[str, Any]) -> list[Any]:
    return answer(keys, context, "groups")


def load_scores(
    keys: list[str], context: dict[str, Any], *, factor: int = 1, within: Range | None = None
) -> list[Any]:
    text = "" if within is None else f" within {within.low}"
    return [
        None if value is None else f"{key} x{factor}{text}"
        for key, value in zip(keys, answer(keys, context, "scores"), strict=True)
    ]


def answer(keys: list[str], context: dict[str, Any], name: str) -> list[Any]:
    context["batches"].append((name, tuple(keys)))
    if context["world"].get(name) == "broken":
        raise RuntimeError(f"{name} are broken")
    found = context["world"][f"{name}_by_id"]
    return [found.get(key) for key in keys]


async def load_members(keys: list[str], context: dict[str, Any]) -> list[Any]:
    return answer(keys, context, "members")


@strawberry.interface
class Node:
    id: strawberry.ID


@strawberry.interface
class Named(Node):
    name: str
    label: str | None


@strawberry.type
class Common:
    id: strawberry.ID
    name: str
    label: str | None
    number: int
    ratio: float | None
    flag: bool
    color: Color | None
    price: Cents | None
    day: datetime.date | None
    moment: datetime.datetime
    amount: decimal.Decimal | None
    blob: strawberry.scalars.JSON | None
    tags: list[str]
    grid: list[list[int | None]] | None
    marks: list[float | None] | None
    colors: list[Color]
    peer: Optional["Alpha"]
    rival: "Beta"
    things: list["Thing"] | None
    nodes: list[Node | None]
    rows: list[list["Beta"]] | None
    maybes: list[Optional["Gamma"]] | None
    friend: Optional["Alpha"] = relation(load_friends, key="friend_id")
    group: "Beta" = relation(load_groups, key="group_id")
    members: list[Optional["Beta"]] | None = relation(load_members, key="group_id")
    score: str | None = relation(load_scores, key="friend_id")

    @strawberry.field
    async def slow(root: Any, info: Info) -> str | None:
        await pause(info.context)
        return given(record(info, root))

    @strawberry.field
    def quick(root: Any, info: Info, a: int | None = 4, tone: Color = Hue.RED) -> str | None:
        value = given(record(info, root))
        return value if not isinstance(value, str) else f"{value} {a} {tone.name}"

    @strawberry.field
    def must(root: Any, info: Info) -> int:
        return given(record(info, root))

    @strawberry.field
    async def must_soon(root: Any, info: Info) -> str:
        await pause(info.context)
        return given(record(info, root))

    @strawberry.field
    async def late_peer(root: Any, info: Info) -> Optional[Named]:  # noqa: UP045
        await pause(info.context)
        return given(record(info, root))

    @strawberry.field
    async def late_peers(root: Any, info: Info) -> list["Alpha"]:
        await pause(info.context)
        return given(record(info, root))

    @strawberry.field
    def crowd(root: Any, info: Info) -> list[Optional["Thing"]] | None:
        return given(record(info, root))

    @strawberry.field
    def echo(
        root: Any,
        info: Info,
        a: int | None = 1,
        b: list[str] | None = None,
        c: Range | None = None,
        d: Color = Hue.GREEN,
        e: float = 1.5,
        f: Cents | None = None,
        g: list[list[int]] | None = None,
    ) -> str | None:
        record(info, root)
        return repr((a, b, c, d, e, f, g))


@strawberry.type
class Alpha(Common, Named):
    is_type_of = source_classes(AlphaView)


@strawberry.type
class Beta(Common, Node):
    is_type_of = source_classes(BetaView)


@strawberry.type
class Gamma(Common):
    is_type_of = source_classes(GammaView)


Thing = Annotated[Alpha | Beta | Gamma, strawberry.union("Thing")]


@strawberry.type
class Query:
    @strawberry.field
    def alpha(self, info: Info) -> Alpha | None:
        return given(info.context["world"]["alphas"][0])

    @strawberry.field
    async def alphas(self, info: Info, first: int = 3) -> list[Alpha]:
        return given(info.context["world"]["alphas"])[:first]

    @strawberry.field
    def betas(self, info: Info) -> list[Beta | None] | None:
        return given(info.context["world"]["betas"])

    @strawberry.field
    def things(self, info: Info) -> list[Thing]:
        world = info.context["world"]
        return [*world["alphas"], *world["betas"], *world["gammas"]]

    @strawberry.field
    async def nodes(self, info: Info) -> list[Node | None] | None:
        world = info.context["world"]
        return [*world["betas"], None, *world["alphas"]]

    @strawberry.field
    def root_error(self, info: Info) -> str | None:
        raise ValueError("root")

    @strawberry.field
    def picked(self, info: Info, c: Range, d: Color | None = None) -> Gamma:
        return info.context["world"]["gammas"][c.low % 2]


@strawberry.type
class Mutation:
    @strawberry.mutation
    def bump(self, info: Info, by: int = 1) -> Alpha | None:
        info.context["calls"].append(("bump", by, str(info.path.as_list())))
        return given(info.context["world"]["alphas"][by % 2])

    @strawberry.mutation
    async def bump_soon(self, info: Info) -> Beta:
        info.context["calls"].append(("bump_soon", 0, str(info.path.as_list())))
        return given(info.context["world"]["betas"][0])

    @strawberry.mutation
    async def fail(self, info: Info, must: bool = False) -> str | None:
        info.context["calls"].append(("fail", must, str(info.path.as_list())))
        raise ValueError("mutation")

    @strawberry.mutation
    def fail_hard(self, info: Info) -> int:
        info.context["calls"].append(("fail_hard", 0, str(info.path.as_list())))
        raise ValueError("hard")


schema = strawberry.Schema(
    Query, Mutation, types=[Alpha, Beta, Gamma], config=StrawberryConfig(scalar_map={Cents: CENTS})
)


def make_world(faults: list[tuple[int, str, Any]], broken: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a world of two objects of each type, changed by (object number, attribute, value) faults."""
    views: list[Any] = [view({}) for view in (AlphaView, AlphaView, BetaView, BetaView, GammaView, GammaView)]
    a0, a1, b0, b1, g0, g1 = views
    for n, view in enumerate(views):
        view.values = {
            "id": f"v{n}",
            "name": f"name {n}",
            "label": None if n % 2 else f"label {n}",
            "number": n,
            "ratio": n / 2,
            "flag": n % 2 == 0,
            "color": list(Hue)[n % 3],
            "price": 5 + n,
            "day": datetime.date(2026, 11, 1 + n),
            "moment": datetime.datetime(2026, 11, 1 + n, 8, tzinfo=datetime.UTC),
            "amount": decimal.Decimal(n) / 4,
            "blob": {"n": n},
            "tags": ["x", "y"][: n % 3],
            "grid": [[1, None], [n]],
            "marks": [0.5, None],
            "colors": [Hue.BLUE],
            "peer": [a1, None][n % 2],
            "rival": [b0, b1][n % 2],
            "things": [a0, b1, g0],
            "nodes": [b0, None, a1],
            "rows": [[b0], [], [b1, b0]],
            "maybes": [g1, None],
            "friend_id": ["p", "q", None][n % 3],
            "group_id": ["g", "h"][n % 2],
            "slow": f"slow {n}",
            "quick": f"quick {n}",
            "must": n,
            "must_soon": "soon",
            "late_peer": a0,
            "late_peers": [a0, a1],
            "crowd": [g0, b0, None],
        }
    world: dict[str, Any] = {"alphas": [a0, a1], "betas": [b0, b1], "gammas": [g0, g1]}
    world["friends_by_id"] = {"p": a1, "q": a0}
    world["groups_by_id"] = {"g": b1, "h": b0}
    world["members_by_id"] = {"g": [b0, None], "h": []}
    world["scores_by_id"] = {"p": "pp"}
    world.update(dict.fromkeys(broken, "broken"))
    for number, attribute, value in faults:
        target = value
        if isinstance(value, At):
            target = views[value.number]
        if attribute.endswith("_by_id"):
            world[attribute] = {**world[attribute], "pgqh"[number % 4]: target}
        else:
            views[number].values[attribute] = target
    return world


class At:
    """Stands for one of the world's objects in a fault."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"At({self.number})"
