"""Random documents over the world's schema, with variables, and random faults in its objects."""

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
ROOT = {"alpha": "Alpha", "alphas": "Alpha", "betas": "Beta", "things": "Thing", "nodes": "Node", "picked": "Gamma"}
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
    "s": ("String! = \"dflt\"", ["s", "t", 4]),
    "l": ("[String!]", [["a"], [], "single", None, ["a", None]]),
    "c": ("Color! = BLUE", ["RED", "GREEN", "PINK"]),
    "f": ("Float = 2.5", [1, 1.25, None, "1"]),
    "p": ("Cents", ["9c", "9", None]),
    "r": ("Range", [{"low": 1}, {"low": 2, "high": None, "inner": {"low": 3}}, None, {}, {"low": 1, "no": 2}]),
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
    """Write one document from a strategy's choices."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.fragments: dict[str, tuple[str, str]] = {}
        self.used: set[str] = set()

    def pick(self, choices: Any) -> Any:
        return self.draw(st.sampled_from(list(choices)))

    def directive(self) -> str:
        return f" {self.pick(DIRECTIVES)}" if self.draw(st.integers(0, 7)) == 7 else ""

    def selection(self, type_: str, depth: int) -> str:
        parts = [self.part(type_, depth) for _ in range(self.draw(st.integers(1, 4)))]
        return "{ " + " ".join(parts) + " }"

    def part(self, type_: str, depth: int) -> str:
        kind = self.draw(st.integers(0, 11))
        if kind == 0:
            return self.pick(["__typename", "kind: __typename"]) + self.directive()
        if kind == 1:
            return self.inline(type_, depth)
        if kind == 2:
            spread = self.spread(type_)
            if spread:
                return spread
        if type_ in ("Thing", "Node", "Named") and kind < 9:
            return self.inline(type_, depth)
        if type_ == "Thing":
            return "__typename"
        if type_ == "Node":
            return "id" + self.directive()
        if type_ == "Named":
            return self.pick(["id", "name", "label"]) + self.directive()
        if depth > 0 and kind >= 6:
            name = self.pick(COMPOSITE)
            return f"{name}{self.directive()} {self.selection(COMPOSITE[name], depth - 1)}"
        return self.scalar(self.pick(SCALARS))

    def scalar(self, name: str) -> str:
        return self.call(name) + self.directive()

    def call(self, name: str) -> str:
        choices = ARGUMENTS.get(name)
        if choices is None:
            return f"other_{name}: {name}" if self.draw(st.integers(0, 9)) == 9 else name
        number = self.draw(st.integers(0, len(choices) - 1))
        return f"{name}_{number}: {name}{choices[number]}" if number else name + choices[0]

    def inline(self, type_: str, depth: int) -> str:
        condition = self.pick([*MATCHES[type_], ""])
        on = f"... on {condition}" if condition else "..."
        return f"{on}{self.directive()} {self.selection(condition or type_, depth)}"

    def spread(self, type_: str) -> str | None:
        names = [name for name, (on, _) in self.fragments.items() if on in MATCHES[type_]]
        if not names:
            return None
        name = self.pick(names)
        return f"...{name}{self.directive()}"

    def root(self, depth: int) -> str:
        parts = []
        for _ in range(self.draw(st.integers(1, 3))):
            name = self.pick([*ROOT, "rootError", "__typename"])
            if name in ROOT:
                parts.append(f"{self.call(name)}{self.directive()} {self.selection(ROOT[name], depth)}")
            else:
                parts.append(name + self.directive())
        return "{ " + " ".join(parts) + " }"

    def mutation(self) -> str:
        parts = []
        for n in range(self.draw(st.integers(1, 4))):
            name = self.pick([*MUTATIONS, "fail", "failHard"])
            part = f"m{n}: {name}{self.pick(ARGUMENTS.get(name, ['']))}{self.directive()}"
            parts.append(f"{part} {self.selection(MUTATIONS[name], 1)}" if name in MUTATIONS else part)
        return "{ " + " ".join(parts) + " }"


@st.composite
def documents(draw: Any) -> tuple[str, dict[str, Any]]:
    """Return a document and variables for it; mostly valid."""
    writer = Writer(draw)
    for n in range(draw(st.integers(0, 3))):
        on = writer.pick([*OBJECTS, "Node", "Named", "Thing"])
        writer.fragments[f"F{n}"] = (on, writer.selection(on, draw(st.integers(0, 1))))
    mutation = draw(st.integers(0, 9)) == 9
    body = writer.mutation() if mutation else writer.root(draw(st.integers(1, 3)))
    text = body
    pending = [text]
    fragments: dict[str, str] = {}
    while pending:
        part = pending.pop()
        for name, (on, selection) in writer.fragments.items():
            if f"...{name}" in part and name not in fragments:
                fragments[name] = f"fragment {name} on {on} {selection}"
                pending.append(selection)
    text = "\n".join([body, *fragments.values()])
    used = [name for name in VARIABLES if _uses(text, name)]
    variables: dict[str, Any] = {}
    for name in used:
        type_, values = VARIABLES[name]
        choice = draw(st.integers(-1 if "!" not in type_ or "=" in type_ else 0, 2 * len(values)))
        if choice >= 0:
            variables[name] = values[choice] if choice < len(values) else values[0]
    declared = ", ".join(f"${name}: {VARIABLES[name][0]}" for name in used)
    head = ("mutation Op" if mutation else "query Op") + (f"({declared})" if used else "")
    return f"{head} {text}", variables


def _uses(text: str, name: str) -> bool:
    return any(f"${name}{end}" in text for end in ",)]}")


ODD = st.sampled_from(
    [
        *(None, None, 7, -1, 13, 0, 2.5, float("nan"), 2**40, "text", "12", True, b"bytes", [], ["a", None, 3]),
        *([[1, "x"], None], [[None]], {"a": 1}, {1, 2}, (1, "b"), object, Hue.RED, [Hue.RED, "no"]),
        *(Raise("raised"), Raise("raised"), ValueError("returned"), [ValueError("inside"), "a"]),
        *(Soon("later"), Soon(3), Soon(None), Soon(Raise("later raised")), [Soon("a"), Soon(Raise("in list"))]),
        *(At(0), At(1), At(2), At(3), At(4), At(5), Soon(Soon("twice")), Soon(ValueError("late returned"))),
        *(Steps(["a", "b"], ends=False, late=False), Steps(["a"], ends=True, late=False)),
        *(Steps(["a", "b"], ends=False, late=True), Steps([1, None], ends=True, late=True)),
        *(Steps([[1], Soon([2])], ends=False, late=False), Steps([Soon(Raise("x"))], ends=True, late=False)),
    ]
)
FAULTS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([*ATTRIBUTES, *ATTRIBUTES, *LOADED]), ODD), max_size=8
)
BROKEN = st.lists(st.sampled_from(["friends", "groups", "scores", "members"]), max_size=1).map(tuple)
