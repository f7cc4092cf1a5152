"""The catalogue from the command line: import, demo, publish, withdraw, restore, status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from msgspec.structs import replace
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.resources import CommandError, Resources, console, open_resources, output
from feeds.catalogue_import import ImportProgress, ImportReport, import_catalogue
from feeds.catalogue_mapping import Mapping, load_mapping
from feeds.catalogue_publish import PublicationRunningError, publish_catalogue
from feeds.catalogue_sources import GeneratedSource, Source
from feeds.demo.catalogue import count_rows, generate, generate_to_file
from operations.catalogue import restore_items, withdraw_items
from settings import Settings
from store.catalogue import CatalogueStore, VersionConflictError, WithdrawnBy

DEMO_FEED = "demo"


async def import_command(
    settings: Settings,
    source: str,
    mapping: str,
    *,
    full: bool,
    force: bool,
    rejects: Path | None,
    publish: bool,
) -> None:
    """Import a source, report, and publish if anything changed."""
    chosen = load_mapping(mapping)
    path = rejects or Path(f"{Path(source).name or 'catalogue'}.rejects.jsonl")
    async with open_resources(settings) as resources:
        report = await _import(resources, source, chosen, full=full, force=force, rejects=path)
        _show_report(report)
        if publish:
            await _publish_changes(resources)


async def demo_command(settings: Settings, *, seed: int, out: Path | None, limit: int | None) -> None:
    """Write the demo catalogue to a file, or load it into the store and publish it.

    Raises: CommandError in production, where believable items could be taken for real ones.
    """
    total = await asyncio.to_thread(count_rows, seed)
    total = total if limit is None else min(limit, total)
    if out is not None:
        with _progress() as progress:
            task = progress.add_task("Writing", total=total, rows="", note="")
            count = await asyncio.to_thread(
                generate_to_file,
                out,
                seed,
                limit=limit,
                progress=lambda n: progress.update(task, completed=n),
            )
        console.print(f"Wrote {count:,} items to {out}.")
        return
    if settings.is_production:
        raise CommandError("Demo items could be taken for real ones: not in production. --out writes a file.")
    mapping = replace(load_mapping("national"), feed=DEMO_FEED)
    source = GeneratedSource(
        "demo catalogue",
        partial(generate, seed, limit=limit),
        fingerprint=f"demo:{version('mintong')}:{seed}:{limit}",
        size=total,
    )
    async with open_resources(settings) as resources:
        report = await _import(resources, source, mapping, full=True, force=True, rejects=None)
        if report.rejected:
            raise CommandError(f"The generator made {report.rejected} rows that the import rejects.")
        await _publish_changes(resources)


async def clear_demo(settings: Settings) -> None:
    """Withdraw every item of the demo and publish what remains."""
    async with open_resources(settings) as resources:
        store = CatalogueStore(resources.database)
        ids = [id_ async for id_ in store.iterate_ids(DEMO_FEED)]
        count = await store.withdraw(ids, now=_now(), by=WithdrawnBy.FEED) if ids else 0
        console.print(f"Withdrew {count:,} items of the demo.")
        await _publish_changes(resources)


async def publish(settings: Settings) -> None:
    """Publish a new version, whether or not anything waits."""
    async with open_resources(settings) as resources:
        await _publish(resources)


async def withdraw(settings: Settings, ids: list[str]) -> None:
    """Withdraw items; readers see it at once."""
    async with open_resources(settings) as resources:
        store = CatalogueStore(resources.database)
        count = await withdraw_items(store, resources.redis, ids, now=_now())
        console.print(f"Withdrew {count} of {len(set(ids))} items.")


async def restore(settings: Settings, ids: list[str]) -> None:
    """Offer withdrawn items again."""
    async with open_resources(settings) as resources:
        store = CatalogueStore(resources.database)
        count = await restore_items(store, resources.redis, ids)
        console.print(f"Restored {count} of {len(set(ids))} items.")
        if (await store.get_state()).pending:
            console.print("Some return with the next publication: `mintong catalogue publish`.")


async def status(settings: Settings) -> None:
    """Show what is published and what waits."""
    async with open_resources(settings) as resources:
        store = CatalogueStore(resources.database)
        state = await store.get_state()
        rows = {
            "Version": f"{state.version}" if state.version else "none is published",
            "Published": f"{state.published_at:%Y-%m-%d %H:%M:%S} UTC" if state.published_at else "",
            "Items": f"{state.item_count:,} published, {await store.count_items():,} in the store",
            "Withdrawn since": f"{len(state.withdrawn):,}",
            "Revision": f"{state.revision}",
            "Waiting": "yes: `mintong catalogue publish`" if state.pending else "nothing",
        }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    output.print(table)


async def _import(
    resources: Resources,
    source: str | Source,
    mapping: Mapping,
    *,
    full: bool,
    force: bool,
    rejects: Path | None,
) -> ImportReport:
    store = CatalogueStore(resources.database)
    await store.ensure_indexes()
    with _progress() as progress:
        tasks: dict[str, TaskID] = {}

        def show(state: ImportProgress) -> None:
            if state.file not in tasks:
                name = Path(state.file).name or state.file
                tasks[state.file] = progress.add_task(
                    f"Importing {name}", total=state.total, rows="", note=""
                )
            rejected = f"{state.rejected:,} rejected" if state.rejected else ""
            progress.update(
                tasks[state.file], completed=state.done, rows=f"{state.lines:,} rows", note=rejected
            )

        return await import_catalogue(
            source, mapping, store, full=full, force=force, rejects=rejects, progress=show
        )


async def _publish_changes(resources: Resources) -> None:
    """Publish if anything waits; a publication of somebody else's is waited for, and may be as good."""
    store = CatalogueStore(resources.database)
    waits = False
    while (await store.get_state()).pending:
        try:
            await _publish(resources)
        except PublicationRunningError:
            if not waits:
                console.print("Another process is publishing; waiting for it.")
            waits = True
            await asyncio.sleep(1)
        except VersionConflictError:
            continue  # whoever was faster may have published what waited here
        else:
            return
    console.print("The published catalogue is up to date.")


async def _publish(resources: Resources) -> None:
    store = CatalogueStore(resources.database)
    home = resources.settings.home.expanduser().resolve()
    total = await store.estimate_items()
    with _progress() as progress:
        task = progress.add_task("Publishing", total=total, rows="", note="")
        number = await publish_catalogue(
            store,
            resources.redis,
            home,
            now=_now(),
            progress=lambda count: progress.update(task, completed=count, rows=f"{count:,} items"),
        )
    console.print(f"Published version {number} with {total:,} items.")


def _show_report(report: ImportReport) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    counts = {
        "rows read": report.lines,
        "new": report.inserted,
        "changed": report.updated,
        "unchanged": report.unchanged,
        "older than what is stored": report.stale,
        "repeated": report.duplicates,
        "rejected": report.rejected,
        "items withdrawn": report.withdrawn,
    }
    for name, count in counts.items():
        if count or name == "rows read":
            table.add_row(f"{count:,}", name)
    for reason, count in sorted(report.reasons.items(), key=lambda pair: -pair[1]):
        table.add_row(f"{count:,}", f"  because of {reason}")
    for field, count in sorted(report.dropped.items(), key=lambda pair: -pair[1]):
        table.add_row(f"{count:,}", f"values of {field} left out")
    output.print(table)
    rate = report.lines / report.elapsed_s if report.elapsed_s else 0
    begun = ", going on where the last run stopped" if report.resumed else ""
    output.print(f"Feed {report.feed}: {report.elapsed_s:.1f} s, {rate:,.0f} rows/s{begun}.")
    if report.rejected:
        output.print(f"Every rejected row, with line, field and reason: {report.rejects_path}")


@contextmanager
def _progress() -> Iterator[Progress]:
    """Draw progress bars on a terminal; elsewhere say nothing."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
        TextColumn("[yellow]{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress


def _now() -> datetime:
    return datetime.now(UTC)
