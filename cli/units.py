"""Units, classes and guides from the command line: import, export, the demo's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from cli.resources import CommandError, console, open_resources, output
from feeds.city_import import read_city_classes_file, write_city_classes_file
from feeds.demo.units import demo_units
from feeds.units_import import read_classes_file, read_units_file, write_classes_file, write_units_file
from loaders.city_classes import shipped_city_classes
from loaders.complaint_classes import shipped_classes
from operations.city_cases import replace_city_classes
from operations.units import UnitsReplaced, replace_classes, replace_units
from settings import Settings
from store.city_cases import CityCaseStore
from store.units import UnitStore


async def import_units_command(settings: Settings, file: Path, *, force: bool) -> None:
    """Import a complete table of units."""
    tree = read_units_file(file)
    async with open_resources(settings) as resources:
        store = UnitStore(resources.database)
        _show(await replace_units(store, resources.redis, tree, now=_now(), force=force))


async def export_units_command(settings: Settings, file: Path | None) -> None:
    """Write the units as a table."""
    async with open_resources(settings) as resources:
        _, tree = await UnitStore(resources.database).load_units()
    _write(file, lambda out: write_units_file(tree, out))


async def import_classes_command(settings: Settings, file: Path) -> None:
    """Put a table of one's own in place of the classes."""
    classes = read_classes_file(file)
    async with open_resources(settings) as resources:
        store = UnitStore(resources.database)
        revision = await replace_classes(store, resources.redis, classes, now=_now())
    console.print(f"{len(classes):,} groups and classes, revision {revision}.")


async def export_classes_command(settings: Settings, file: Path | None) -> None:
    """Write the classes as a table: the operator's own, else those shipped."""
    async with open_resources(settings) as resources:
        _, own = await UnitStore(resources.database).load_classes()
    _write(file, lambda out: write_classes_file(own or shipped_classes(), out))


async def import_city_classes_command(settings: Settings, file: Path) -> None:
    """Put a table of one's own in place of the components and events of urban management."""
    classes = read_city_classes_file(file)
    async with open_resources(settings) as resources:
        store = CityCaseStore(resources.database)
        revision = await replace_city_classes(store, resources.redis, classes, now=_now())
    console.print(f"{len(classes):,} components and events, revision {revision}.")


async def export_city_classes_command(settings: Settings, file: Path | None) -> None:
    """Write the components and events as a table: the operator's own, else those shipped."""
    async with open_resources(settings) as resources:
        _, own = await CityCaseStore(resources.database).load_classes()
    _write(file, lambda out: write_city_classes_file(own or shipped_city_classes(), out))


async def demo_units_command(settings: Settings) -> None:
    """Bring the demo province's units in.

    Raises: CommandError in production, where they could be taken for real ones.
    """
    if settings.is_production:
        raise CommandError("Demo units could be taken for real ones: not in production.")
    async with open_resources(settings) as resources:
        store = UnitStore(resources.database)
        _, own = await store.load_classes()
        tree = demo_units(own or shipped_classes())
        _show(await replace_units(store, resources.redis, tree, now=_now(), force=True))


def _write(file: Path | None, write: Callable[[TextIO], None]) -> None:
    if file is None:
        write(sys.stdout)
        return
    with file.open("w", encoding="utf-8", newline="") as out:
        write(out)


def _show(done: UnitsReplaced) -> None:
    output.print(
        f"Units: {done.added:,} new, {done.changed:,} changed, {done.closed:,} closed, "
        f"{done.unchanged:,} unchanged; revision {done.revision}."
    )


def _now() -> datetime:
    return datetime.now(UTC)
