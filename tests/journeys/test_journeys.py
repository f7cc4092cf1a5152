"""Golden journeys: what a client sends over HTTP and every byte of sense in the answer.

`MINTONG_UPDATE_JOURNEYS=1 pytest tests/journeys` writes the expected answers anew; read the difference.
"""

from __future__ import annotations

import orjson
import pytest
from journey_world import FOLDER, PLACES, Journeys, must_update, names, rows


@pytest.mark.parametrize("name", names())
def test_journey(journeys: Journeys, name: str) -> None:
    answer = journeys.answer(name)
    golden = FOLDER / f"{name}.json"
    if must_update():
        golden.write_bytes(orjson.dumps(answer, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    assert answer == orjson.loads(golden.read_bytes())


def test_every_file_belongs_to_a_journey() -> None:
    stems = {path.name.partition(".")[0] for path in FOLDER.glob("*.json")}
    assert stems == set(names())


def test_the_world_has_every_level() -> None:
    levels = {row["use_level"] for row in rows()}
    places = {row["area_code"] for row in rows()}
    assert levels == {"2", "3", "4", "5"}
    assert places == {code.ljust(12, "0") for code in PLACES}
