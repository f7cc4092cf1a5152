"""Golden journeys of people, each on a server with the engine and on one without.

`MINTONG_UPDATE_JOURNEYS=1 pytest tests/journeys` writes the expected answers anew; read the difference.
"""

from __future__ import annotations

import orjson
import pytest
from journey_world import Journeys, World, must_update
from people_world import PEOPLE, Run, scenarios, stem, steps


@pytest.mark.parametrize("scenario", scenarios())
def test_journey_of_people(world: World, journeys: Journeys, scenario: str) -> None:
    run = Run(world, journeys.client)
    try:
        for step in steps(scenario):
            answer = run.take(step)
            golden = step.with_name(f"{stem(step)}.json")
            if must_update():
                golden.write_bytes(
                    orjson.dumps(answer, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
                )
            assert answer == orjson.loads(golden.read_bytes()), step.name
    finally:
        run.forget()


def test_every_file_belongs_to_a_step() -> None:
    for scenario in scenarios():
        known = {stem(step) for step in steps(scenario)}
        assert {path.name.partition(".")[0] for path in (PEOPLE / scenario).iterdir()} == known, scenario
