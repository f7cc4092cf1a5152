"""What happened to one request, for people who write queries and resolvers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.runtime import Run


@dataclass(slots=True)
class LevelNote:
    """One level of one request: its type, its objects, its time with everything below (seconds)."""

    type: str
    objects: int
    seconds: float


@dataclass(slots=True)
class Explanation:
    """How a request was answered."""

    reason: str | None
    """Why it was not compiled, None where it was."""
    cost: Any
    seconds: float
    batches: list[tuple[str, int, int]] = field(default_factory=list)
    """`Type.field`, objects of the level, distinct keys asked for."""
    resolvers: list[tuple[str, int]] = field(default_factory=list)
    """`Type.field` of each resolver called one object at a time, and how many calls."""
    levels: list[LevelNote] = field(default_factory=list)
    fragment_hits: int = 0
    fragment_misses: int = 0
    cache_control: str = "private, no-store"
    source: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values, times in milliseconds, without the source."""
        return {
            "compiled": self.reason is None,
            "reason": self.reason,
            "cost": self.cost,
            "ms": round(self.seconds * 1000, 3),
            "batches": [{"field": f, "objects": n, "keys": k} for f, n, k in self.batches],
            "resolvers": [{"field": f, "calls": n} for f, n in self.resolvers],
            "levels": [
                {"type": note.type, "objects": note.objects, "ms": round(note.seconds * 1000, 3)}
                for note in self.levels
            ],
            "fragments": {"hits": self.fragment_hits, "misses": self.fragment_misses},
            "cacheControl": self.cache_control,
        }

    def as_text(self) -> str:
        """Return the explanation as lines for a terminal, with the generated source."""
        lines = ["compiled" if self.reason is None else f"not compiled: {self.reason}"]
        lines.append(f"time      {self.seconds * 1000:.3f} ms")
        if self.cost is not None:
            lines.append(f"cost      {self.cost}")
        lines.append(f"cache     {self.cache_control}")
        lines.append(f"fragments {self.fragment_hits} hits, {self.fragment_misses} misses")
        lines += [f"batch     {name}: {keys} keys for {n} objects" for name, n, keys in self.batches]
        lines += [f"resolver  {name}: {n} calls" for name, n in self.resolvers]
        lines += [f"level     {n.type}: {n.objects} objects, {n.seconds * 1000:.3f} ms" for n in self.levels]
        if self.source is not None:
            lines += ["", self.source]
        return "\n".join(lines)


def explain_run(
    run: Run, *, seconds: float, cost: Any, fragment_hits: int, fragment_misses: int
) -> Explanation:
    """Return the explanation of a compiled run whose plan was compiled with times."""
    types = {level.number: level.type.name for level in run.plan.levels}
    return Explanation(
        reason=None,
        cost=cost,
        seconds=seconds,
        batches=[
            (f"{plan.parent.name}.{plan.nodes[0].name.value}", len(batch.keys), len(batch.unique))
            for plan, batch in run.batches
        ],
        resolvers=[
            (f"{plan.parent.name}.{plan.nodes[0].name.value}", len(column)) for _, plan, column in run.trace
        ],
        levels=[LevelNote(types[number], objects, spent) for number, objects, spent in run.notes or ()],
        fragment_hits=fragment_hits,
        fragment_misses=fragment_misses,
        cache_control=run.plan.policy.header(),
        source=run.plan.source,
    )
