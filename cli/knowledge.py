"""The knowledge base from the command line: import, export, what is due, the demo's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from cli.resources import CommandError, Resources, console, open_resources, output
from domain.complaint_classes import ClassList
from domain.knowledge import GuideState
from feeds.demo.knowledge import demo_guides
from feeds.knowledge_import import read_guides_file, write_guide
from loaders.complaint_classes import shipped_classes
from operations.knowledge import ImportRow, import_guides
from settings import Settings
from store.knowledge import KnowledgeStore
from store.units import UnitStore

_PAGE = 500


async def import_knowledge_command(settings: Settings, file: Path) -> None:
    """Publish the guides of a file."""
    async with open_resources(settings) as resources:
        rows = read_guides_file(file, await _classes(resources))
        await _import(resources, rows)


async def export_knowledge_command(settings: Settings, file: Path | None) -> None:
    """Write the published guides as JSON lines."""
    async with open_resources(settings) as resources:
        store = KnowledgeStore(resources.database)
        lines = []
        after = ""
        while page := await store.list_guides(GuideState.PUBLISHED, _PAGE, after):
            lines += [write_guide(guide) for guide in page]
            after = page[-1].id
    if file is None:
        sys.stdout.write(b"".join(lines).decode())
    else:
        await asyncio.to_thread(file.write_bytes, b"".join(lines))


async def knowledge_due_command(settings: Settings, first: int) -> None:
    """List the guides whose review is due, the longest overdue first."""
    async with open_resources(settings) as resources:
        store = KnowledgeStore(resources.database)
        due = await store.list_due(date.today(), first + 1)
    for guide in due[:first]:
        output.print(f"{guide.review_by}  {guide.id}  {guide.content.question}", markup=False)
    more = ", and more" if len(due) > first else ""
    console.print(f"{min(len(due), first)} guides are due for review{more}.")


async def demo_knowledge_command(settings: Settings) -> None:
    """Publish the demo province's guides.

    Raises: CommandError in production, where they could be taken for real ones.
    """
    if settings.is_production:
        raise CommandError("Demo guides could be taken for real ones: not in production.")
    rows = await asyncio.to_thread(lambda: list(demo_guides()))
    async with open_resources(settings) as resources:
        await _import(resources, rows)


async def _classes(resources: Resources) -> ClassList:
    _, own = await UnitStore(resources.database).load_classes()
    return own or shipped_classes()


async def _import(resources: Resources, rows: Sequence[ImportRow]) -> None:
    store = KnowledgeStore(resources.database)
    await store.ensure_indexes()
    report = await import_guides(store, resources.redis, rows, now=datetime.now(UTC))
    output.print(f"Guides: {report.added:,} new, {report.changed:,} changed, {report.unchanged:,} unchanged.")
    if report.overtaken:
        output.print(f"{len(report.overtaken):,} were changed by somebody else meanwhile: import again.")
