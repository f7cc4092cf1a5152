"""Positions of a level's objects in the answer, worked out only when somebody asks.

A *level frame* is `[field frame, kind, data, paths]`, a *field frame* `[level frame, field, keys, paths]`;
the last place keeps the paths once they were computed. Running a query builds these small lists and nothing
else; paths are needed for a resolver's `info` and for errors.
"""

from __future__ import annotations

from typing import Any

from graphql.pyutils import Path

from engine.plan import Frame

SAME, LISTS, PLACES, SUBSET = 0, 1, 2, 3
"""Level frame kinds: one object per value; a list per value; explicit places; some objects of a frame."""


def places(frame: Frame) -> list[tuple[int, tuple[int, ...]]]:
    """Return, for each object of a level, its value's number in the field frame and its list indices."""
    field_frame, kind, data, _ = frame
    if kind == SAME:
        return [(i, ()) for i in range(len(field_paths(field_frame)))]
    if kind == LISTS:
        return [(i, (k,)) for i, items in enumerate(data) for k in range(len(items))]
    result: list[tuple[int, tuple[int, ...]]] = data
    return result


def level_paths(frame: Frame | None) -> list[list[Path | None]]:
    """Return the response paths of each object of a level; several where objects are shared."""
    if frame is None:
        return [[None]]
    if frame[3] is None:
        if frame[1] == SUBSET:
            parent, chosen = frame[2]
            paths = level_paths(parent)
            frame[3] = [paths[i] for i in chosen]
        else:
            base = field_paths(frame[0])
            frame[3] = [[extend(path, indices) for path in base[i]] for i, indices in places(frame)]
    result: list[list[Path | None]] = frame[3]
    return result


def field_paths(frame: Frame) -> list[list[Path]]:
    """Return the response paths of each value of a field frame."""
    if frame[3] is None:
        level, plan, keys, _ = frame
        key, typename = plan.key, plan.parent.name
        above = [[Path(path, key, typename) for path in paths] for paths in level_paths(level)]
        frame[3] = above if keys is None else _by_key(above, *keys)
    result: list[list[Path]] = frame[3]
    return result


def extend(path: Any, indices: tuple[int, ...]) -> Any:
    """Return the path with list indices added."""
    for index in indices:
        path = Path(path, index, None)
    return path


def _by_key(above: list[list[Path]], keys: list[Any], unique: list[Any]) -> list[list[Path]]:
    found: dict[Any, list[Path]] = {key: [] for key in unique}
    for paths, key in zip(above, keys, strict=True):
        if key in found:
            found[key].extend(paths)
    return [found[key] for key in unique]
