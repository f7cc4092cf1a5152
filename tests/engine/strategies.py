"""Random documents over the world's schema, with variables, and random faults in its objects."""

from functools import cache
from typing import Any

from hypothesis import strategies as st
from world import ATTRIBUTES, LOADED, At, Hue, Raise, Soon, Steps

OBJECTS = ("Alpha", "Beta", "Gamma")
SCALARS = (
    *("id", "name", "label", "number", "ratio", "flag", "color", "price", "day", "moment", "amount", "blob"),
    *("tags", "grid", "marks", "colors", "slow", "quick", "must", "mustSoon", "score", "echo"),
)
COMPOSITE = {
    "peer": "Alpha",
    "rival": "Beta",
    "things": "Thing",
    "nodes": "Node",
    "rows": "Beta",
    "maybes": "Gamma",
    "friend": "Alpha",
    "group": "Beta",
    "members": "Beta",
    "latePeer": "Named",
    "latePeers": "Alpha",
    "crowd": "Thing",
}
ROOT = {
    "alpha": "Alpha",
    "alphas": "Alpha",
    "betas": "Beta",
    "things": "Thing",
    "nodes": "Node",
    "picked": "Gamma",
}
MUTATIONS = {"bump": "Alpha", "bumpSoon": "Beta"}
MATCHES = {
    "Alpha": ("Alpha", "Named", "Node", "Thing"),
    "Beta": ("Beta", "Node", "Thing"),
    "Gamma": ("Gamma", "Thing"),
    "Node": ("Alpha", "Beta", "Named", "Node", "Thing"),
    "Named": ("Alpha", "Named", "Node"),
    "Thing": ("Alpha", "Beta", "Gamma", "Node", "Named"),
}
# One alias for each choice of arguments, so that equal response names always stand for equal calls.
ARGUMENTS = {
    "quick": ["", "(a: 2)", "(a: $i)", "(tone: BLUE)", "(a: null, tone: $c)"],
    "score": ["", "(factor: 3)", "(factor: $n)", "(within: {low: 2})", "(within: $r)"],
    "echo": [
        "",
        "(a: $i, e: 2)",
        '(b: ["p", $s], d: $c)',
        "(b: $l)",
        "(c: $r)",
        "(c: {low: $n, colors: [RED, $c]})",
        "(c: {low: 3, inner: {low: 4, high: null}}, g: [[1], [2, $n]])",
        "(e: $f)",
        '(f: "7c", g: 5)',
        "(f: $p)",
        "(d: $c, a: $n)",
    ],
    "alphas": ["", "(first: 1)", "(first: $n)", "(first: $d)"],
    "picked": ["(c: {low: 0})", "(c: {low: $n}, d: RED)", "(c: $must)"],
    "bump": ["", "(by: 2)", "(by: $n)"],
    "fail": ["", "(must: true)"],
}
VARIABLES: dict[str, tuple[str, list[Any]]] = {
    "i": ("Int", [5, None, "no", 2**31, 3.0, True]),
    "d": ("Int! = 2", [1, None]),
    "n": ("Int!", [1, 2, 3, 1, 2, None, "x", 1.5]),
    "s": ('String! = "dflt"', ["s", "t", 4]),
    "l": ("[String!]", [["a"], [], "single", None, ["a", None]]),
    "c": ("Color! = BLUE", ["RED", "GREEN", "PINK"]),
    "f": ("Float = 2.5", [1, 1.25, None, "1"]),
    "p": ("Cents", ["9c", "9", None]),
    "r": (
        "Range",
        [{"low": 1}, {"low": 2, "high": None, "inner": {"low": 3}}, None, {}, {"low": 1, "no": 2}],
    ),
    "must": ("Range!", [{"low": 1}, {"low": 0, "colors": ["RED"]}, {"low": None}]),
    "on": ("Boolean!", [True, False, True, False, None]),
    "off": ("Boolean! = false", [True, False]),
    "may": ("Boolean = true", [True, False, None]),
}
DIRECTIVES = [
    *("@include(if: $on)", "@skip(if: $on)", "@include(if: $off)", "@skip(if: $off)", "@include(if: $may)"),
    *("@skip(if: false)", "@include(if: true)", "@skip(if: true)", "@include(if: false)"),
    "@skip(if: $off) @include(if: $on)",
]


class Writer:
    """Write one document; each part of it costs one number, from which all its choices are read."""

    def __init__(self, draw: Any, budget: int) -> None:
        self.draw = draw
        self.budget = budget
        self.fragments: dict[str, tuple[str, str]] = {}
        self.number = 0

    def fresh(self) -> None:
        self.number = self.draw(NUMBERS)
        self.budget -= 1

    def below(self, bound: int) -> int:
        self.number, choice = divmod(self.number, bound)
        return choice

    def pick(self, choices: Any) -> Any:
        return choices[self.below(len(choices))]

    def directive(self) -> str:
        return f" {self.pick(DIRECTIVES)}" if self.below(8) == 7 else ""

    def selection(self, type_: str, depth: int) -> str:
        self.fresh()
        count = self.below(4) + 1
        return "{ " + " ".join([self.part(type_, depth) for _ in range(count)]) + " }"

    def part(self, type_: str, depth: int) -> str:
        self.fresh()
        kind = self.below(12)
        if self.budget <= 0 or kind == 0:
            return self.pick(["__typename", "kind: __typename"]) + self.directive()
        if kind == 11:
            return self.inline(type_, depth)
        if kind == 10:
            names = [name for name, (on, _) in self.fragments.items() if on in MATCHES[type_]]
            if names:
                return f"...{self.pick(names)}{self.directive()}"
        if type_ in ("Thing", "Node", "Named") and kind > 3:
            return self.inline(type_, depth)
        if type_ == "Thing":
            return "__typename"
        if type_ in ("Node", "Named"):
            return self.pick(["id", "name", "label"] if type_ == "Named" else ["id"]) + self.directive()
        if depth > 0 and kind >= 6:
            name = self.pick(list(COMPOSITE))
            return f"{name}{self.directive()} {self.selection(COMPOSITE[name], depth - 1)}"
        return self.call(self.pick(SCALARS)) + self.directive()

    def call(self, name: str) -> str:
        choices = ARGUMENTS.get(name)
        if choices is None:
            return f"other_{name}: {name}" if self.below(10) == 9 else name
        number = self.below(len(choices))
        return f"{name}_{number}: {name}{choices[number]}" if number else name + choices[0]

    def inline(self, type_: str, depth: int) -> str:
        condition = self.pick([*MATCHES[type_], ""])
        on = f"... on {condition}" if condition else "..."
        return f"{on}{self.directive()} {self.selection(condition or type_, depth)}"

    def root(self, depth: int) -> str:
        parts = []
        self.fresh()
        for _ in range(self.below(3) + 1):
            self.fresh()
            name = self.pick([*ROOT, "rootError", "__typename"])
            if name in ROOT:
                parts.append(f"{self.call(name)}{self.directive()} {self.selection(ROOT[name], depth)}")
            else:
                parts.append(name + self.directive())
        return "{ " + " ".join(parts) + " }"

    def mutation(self) -> str:
        parts = []
        self.fresh()
        for n in range(self.below(4) + 1):
            self.fresh()
            name = self.pick([*MUTATIONS, "fail", "failHard"])
            part = f"m{n}: {name}{self.pick(ARGUMENTS.get(name, ['']))}{self.directive()}"
            parts.append(f"{part} {self.selection(MUTATIONS[name], 1)}" if name in MUTATIONS else part)
        return "{ " + " ".join(parts) + " }"


NUMBERS = st.integers(0, 2**32)


@st.composite
def cases(draw: Any) -> tuple[str, dict[str, Any], list[Any], tuple[str, ...]]:
    """Return a document, mostly valid variables for it, faults in the world and broken loaders."""
    writer = Writer(draw, 30)
    writer.fresh()
    fragments, mutation, depth = writer.below(4), writer.below(10) == 9, writer.below(3) + 1
    for n in range(fragments):
        writer.fresh()
        on = writer.pick(["Alpha", "Node", "Beta", "Named", "Thing", "Gamma"])
        writer.fragments[f"F{n}"] = (on, writer.selection(on, writer.below(2)))
    writer.budget = 24
    body = writer.mutation() if mutation else writer.root(depth)
    text = _with_fragments(body, writer.fragments)
    used = [name for name in VARIABLES if _uses(text, name)]
    variables: dict[str, Any] = {}
    writer.fresh()
    for name in used:
        type_, values = VARIABLES[name]
        choice = writer.below(3 * len(values))
        if choice == 1 and not (type_.endswith("!") and "=" not in type_):
            continue
        variables[name] = values[choice] if choice < len(values) else values[0]
    declared = ", ".join(f"${name}: {VARIABLES[name][0]}" for name in used)
    head = ("mutation Op" if mutation else "query Op") + (f"({declared})" if used else "")
    touched = [name for name in (*ATTRIBUTES, *LOADED) if SELECTED_AS.get(name, _camel(name)) in text]
    return f"{head} {text}", variables, draw(_faults(tuple(touched))), draw(BROKEN)


def _with_fragments(body: str, known: dict[str, tuple[str, str]]) -> str:
    fragments: dict[str, str] = {}
    pending = [body]
    while pending:
        part = pending.pop()
        for name, (on, selection) in known.items():
            if f"...{name}" in part and name not in fragments:
                fragments[name] = f"fragment {name} on {on} {selection}"
                pending.append(selection)
    return "\n".join([body, *fragments.values()])


SELECTED_AS = {
    "friend_id": "friend",
    "group_id": "group",
    "friends_by_id": "friend",
    "groups_by_id": "group",
    "members_by_id": "members",
    "scores_by_id": "score",
}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _uses(text: str, name: str) -> bool:
    return any(f"${name}{end}" in text for end in ",)]}")


ODD = st.sampled_from(
    [
        *(
            None,
            None,
            7,
            -1,
            13,
            0,
            2.5,
            float("nan"),
            2**40,
            "text",
            "12",
            True,
            b"bytes",
            [],
            ["a", None, 3],
        ),
        *([[1, "x"], None], [[None]], {"a": 1}, {1, 2}, (1, "b"), object, Hue.RED, [Hue.RED, "no"]),
        *(Raise("raised"), Raise("raised"), ValueError("returned"), [ValueError("inside"), "a"]),
        *(
            Soon("later"),
            Soon(3),
            Soon(None),
            Soon(Raise("later raised")),
            [Soon("a"), Soon(Raise("in list"))],
        ),
        *(At(0), At(1), At(2), At(3), At(4), At(5), Soon(Soon("twice")), Soon(ValueError("late returned"))),
        *(Steps(["a", "b"], ends=False, late=False), Steps(["a"], ends=True, late=False)),
        *(Steps(["a", "b"], ends=False, late=True), Steps([1, None], ends=True, late=True)),
        *(Steps([[1], Soon([2])], ends=False, late=False), Steps([Soon(Raise("x"))], ends=True, late=False)),
    ]
)


@cache
def _faults(names: tuple[str, ...]) -> Any:
    if not names:
        return st.just([])
    return st.lists(st.tuples(st.integers(0, 5), st.sampled_from(names), ODD), max_size=7)


BROKEN = st.sampled_from([(), (), (), (), (), ("friends",), ("groups",), ("scores",), ("members",)])
