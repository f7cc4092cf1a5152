"""Complaints from the command line: verify the histories, draw the steps, count anew, the demo's."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from api.complaints import open_complaints
from cli.resources import CommandError, console, open_resources, output
from domain.complaint_steps import diagram
from feeds.demo.complaints import play, stories
from operations.complaint_audit import audit
from operations.complaint_statistics import Counting, rebuild
from settings import Settings
from store.complaint_statistics import StatisticsStore


async def verify_command(settings: Settings) -> None:
    """Check every history and list what is wrong.

    Raises: CommandError when anything is.
    """
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn())
    async with open_resources(settings) as resources, open_complaints(settings, resources.mongodb) as own:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("Complaints checked")
            report = await audit(
                own,
                StatisticsStore(resources.database),
                now=datetime.now(UTC),
                progress=lambda count: progress.advance(task, count),
            )
    for number, faults in report.faults.items():
        output.print(f"{number}: {'; '.join(faults)}")
    if report.faults:
        raise CommandError(f"{len(report.faults):,} of {report.checked:,} histories are not sound.")
    output.print(f"{report.checked:,} histories checked, all sound.")


async def rebuild_statistics_command(settings: Settings) -> None:
    """Count all complaints anew."""
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn())
    async with open_resources(settings) as resources, open_complaints(settings, resources.mongodb) as own:
        store = StatisticsStore(resources.database)
        await store.ensure_indexes()
        counting = Counting(store, own.store, own.numbers, own.calendar)
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("Complaints counted")
            await rebuild(counting, lambda count: progress.advance(task, count))
    output.print("All complaints are counted anew.")


async def demo_command(settings: Settings) -> None:
    """Let the demo province's complaints of the last four months happen.

    Raises: CommandError in production, where they could be taken for real ones.
    """
    if settings.is_production:
        raise CommandError("Demo complaints could be taken for real ones: not in production.")
    now = datetime.now(UTC)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    async with open_resources(settings) as resources, open_complaints(settings, resources.mongodb) as own:
        told = sorted(stories(own.units(), now), key=lambda story: story.at)
        with Progress(*columns, console=console) as progress:
            for story in progress.track(told, description="Complaints"):
                await play(own, story, now=now)
    output.print(f"Complaints: {len(told):,}.")


def diagram_command() -> None:
    """Print the document of the steps, made from the table."""
    output.print(diagram(), end="", soft_wrap=True, highlight=False, markup=False)
