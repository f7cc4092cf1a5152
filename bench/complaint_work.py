"""Work on complaints as their number grows: submit, my list, queues of the desk, one complaint.

    python -m bench.complaint_work [--sizes 10000 1000000] [--calls N]

Complaints are copies of one that was really submitted, at 1,045 a day over the demo province's counties, two
or three for each citizen; those of the last twenty days are open. A smaller store is measured twice: as it is
after the few days in which it fills at that rate, where every complaint is open and none overdue, and as it
is where it has taken as many days as the largest to fill, where a hundredth is open and overdue. They are
written straight into the stores of one embedded engine. Every probe runs the house's own operation, is asked
equally often in each store, the best of three for the same arguments. 99th percentiles may grow three times.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import Binary
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console

from api.complaints import make_complaints
from bench.complaint_reads import measure, show, stores_of, title
from domain import complaints as c
from domain.access import Assurance, Role, Viewer
from domain.complaint_desk import Queue
from domain.complaints import Actor, ActorRole
from domain.units import UnitKind, UnitTree
from feeds.demo.units import demo_units
from loaders.complaint_classes import shipped_classes
from operations.complaint_desk import QueueRequest, list_queue
from operations.complaint_submit import Intake, submit
from operations.complaints import Complaints, look_up
from settings import Settings
from store.connections import open_mongodb
from store.encryption import FieldCipher, local_kms
from store.engines import EmbeddedEngines, HealthPolicy

SEED = 20261122
SIZES = (10_000, 1_000_000)
OPEN_DAYS = 20
PER_CITIZEN = 2.5
BATCH = 1_000
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
COMPLAINANT = Actor(ActorRole.COMPLAINANT)
Document = dict[str, Any]


@dataclass
class World:
    """What the probes ask."""

    complaints: Complaints
    database: AsyncDatabase[Document]
    units: UnitTree
    pattern: Document
    counties: list[str]
    size: int
    a_day: float
    submitted: int = 0

    def citizens(self) -> int:
        return int(self.size / PER_CITIZEN)

    def document(self, place: int, dice: random.Random) -> Document:
        """Make a complaint; the higher its place, the longer ago."""
        at = NOW - timedelta(days=place / self.a_day)
        county = dice.choice(self.counties)
        centre = self.units.centre(county)
        assert centre is not None
        number = c.number_of(at.date(), 900_000 - place % math.ceil(self.a_day))
        is_open = place < OPEN_DAYS * self.a_day
        state = dice.choice(["SUBMITTED", "ACCEPTED", "REPLIED", "RATED"]) if is_open else "CLOSED"
        standing = self.pattern["standing"] | {"state": state, "centre": centre.id, "division_code": county}
        document = {key: value for key, value in self.pattern.items() if key not in ("wake_at", "holder")}
        held = {"holder": centre.id, "act_by": at + timedelta(days=10), "wake_at": at + timedelta(days=5)}
        return document | {
            "_id": number,
            "key": Binary(place.to_bytes(16, "big")),
            "owner": owner_of(dice.randrange(max(self.citizens(), 1))),
            "standing": standing,
            "cell": dice.randrange(40_000),
            "told": 1,
            "due_at": at + timedelta(days=10),
            **(held if is_open else {"act_by": None}),
        }


def owner_of(citizen: int) -> Binary:
    """An encrypted account has 97 bytes and more."""
    return Binary(citizen.to_bytes(97, "big"), 6)


def seat_of(world: World, dice: random.Random) -> Viewer:
    county = dice.choice(world.counties)
    centre = world.units.centre(county)
    assert centre is not None
    return Viewer(
        account_id="seat",
        session_id="s",
        roles=frozenset({Role.DESK}),
        assurance=Assurance.L2,
        expires_at=NOW + timedelta(days=1),
        unit=centre.id,
        division_code=centre.division_code,
    )


async def submit_one(world: World, dice: random.Random) -> object:
    world.submitted += 1
    intake = Intake(
        kind=c.Kind.COMPLAINT,
        text=f"第{world.submitted}号灯杆的路灯不亮，已经报修三次。",
        division_code=dice.choice(world.counties),
        channel=c.ComplaintChannel.APP,
        contact=c.ContactWish.PHONE_ONLY,
        phone="13800138000",
        point=c.Point(dice.uniform(117, 119), dice.uniform(25, 27)),
    )
    viewer = Viewer(
        account_id=f"citizen-{dice.randrange(1_000_000)}",
        session_id="s",
        roles=frozenset({Role.CITIZEN}),
        assurance=Assurance.L1,
        expires_at=NOW + timedelta(days=1),
    )
    key = f"bench-{world.submitted:08}"
    return await submit(world.complaints, viewer, COMPLAINANT, intake, key, now=NOW + timedelta(hours=1))


async def my_list(world: World, dice: random.Random) -> object:
    rows = await world.complaints.store.list_own(owner_of(dice.randrange(world.citizens())), 20)
    return rows


def queue(kind: Queue, *, newest: bool = False) -> Callable[[World, random.Random], Awaitable[object]]:
    async def probe(world: World, dice: random.Random) -> object:
        request = QueueRequest(kind, newest=newest)
        return await list_queue(world.complaints, seat_of(world, dice), request, 20, now=NOW)

    return probe


async def one_complaint(world: World, dice: random.Random) -> object:
    seat = seat_of(world, dice)
    rows = await list_queue(world.complaints, seat, QueueRequest(Queue.UNIT), 1, now=NOW)
    return await look_up(world.complaints, seat, rows[0].number)


async def nearby(world: World, dice: random.Random) -> object:
    cells = [dice.randrange(40_000) for _ in range(9)]
    return await world.complaints.store.list_near(
        cells, c.number_of((NOW - timedelta(days=60)).date(), 0), 20
    )


PROBES: dict[str, Callable[[World, random.Random], Awaitable[object]]] = {
    "submit": submit_one,
    "my complaints": my_list,
    "queue: what a centre holds": queue(Queue.UNIT),
    "queue: the newest of it": queue(Queue.UNIT, newest=True),
    "queue: overdue": queue(Queue.OVERDUE),
    "one complaint for a seat": one_complaint,
    "nine cells nearby": nearby,
}
"""What is measured, by name."""


async def fill(world: World, console: Console) -> None:
    """Bring the complaints in."""
    begun = time.perf_counter()
    collection = world.database["complaints"]
    for first in range(0, world.size, BATCH):
        dice = random.Random(SEED + first)
        made = [world.document(place, dice) for place in range(first, min(first + BATCH, world.size))]
        await collection.insert_many(made, ordered=False)
    console.print(f"{title(world.size, world.a_day)}: loaded in {time.perf_counter() - begun:.0f} s")


async def explain(world: World, console: Console) -> None:
    """Print by which index the engine answers."""
    collection = world.database["complaints"]
    centre = world.units.centre(world.counties[0])
    assert centre is not None
    queries: dict[str, Document] = {
        "my complaints": {"owner": owner_of(1), "_id": {"$lt": "~"}},
        "queue": {"holder": centre.id, "standing.state": "SUBMITTED", "act_by": {"$gte": NOW}},
        "nearby": {"cell": 1, "_id": {"$gt": "2"}},
        "awake": {"wake_at": {"$gt": NOW, "$lt": NOW + timedelta(days=1)}},
    }
    for name, query in queries.items():
        plan = (await collection.find(query).explain())["queryPlanner"]["winningPlan"]
        console.print(f"plan of {name}: {plan}")


async def run(sizes: list[int], calls: int) -> None:
    console = Console(width=150)
    results: dict[str, dict[str, tuple[float, float]]] = {}
    policy = HealthPolicy(timeout_s=120, failures=5)
    with tempfile.TemporaryDirectory(prefix="mintong-bench-") as folder:
        home = Path(folder)
        kms = local_kms(home / "key", may_create=True)
        async with (
            EmbeddedEngines(home / "engines", redis=False, policy=policy) as engines,
            open_mongodb(engines.mongodb_uri, 60_000, answer_timeout_ms=900_000) as mongodb,
        ):
            for number, (size, a_day) in enumerate(stores_of(sizes)):
                async with aclosing(FieldCipher(mongodb, f"bench{number}", kms)) as cipher:
                    world = await make_world(mongodb[f"bench{number}"], cipher, home, size, a_day)
                    await fill(world, console)
                    results[title(size, a_day)] = await measure(world, PROBES, calls)
            await explain(world, console)
    show(results, console, PROBES)


async def make_world(
    database: AsyncDatabase[Document], cipher: FieldCipher, home: Path, size: int, a_day: float
) -> World:
    units = demo_units(shipped_classes())
    complaints = make_complaints(
        Settings.model_validate({"home": home}),
        database,
        cipher,
        units=lambda: units,
        read_classes=shipped_classes,
        is_division=units.covers,
    )
    centres = units.select(kind=UnitKind.CENTRE)
    counties = [unit.division_code for unit in centres if not unit.division_code.endswith("00")]
    world = World(complaints, database, units, {}, counties, size, a_day)
    await submit_one(world, random.Random(SEED))
    pattern = await database["complaints"].find_one()
    assert pattern is not None
    world.pattern = pattern
    return world


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--calls", type=int, default=400)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.sizes, arguments.calls))


if __name__ == "__main__":
    main()
