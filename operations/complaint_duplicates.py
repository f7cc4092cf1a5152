"""Complaints nearby that may be about the same matter, to be joined rather than made once more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from msgspec import Struct
from rapidfuzz import fuzz

from domain.complaint_publication import PublicState, public_state
from domain.complaints import ANSWER_OUT, ENDED, Point, Publication
from domain.preferences import SHANGHAI
from domain.text import compact, fold
from operations.complaint_publication import Publisher
from operations.complaint_submit import cell_of, excerpt_of
from operations.complaints import Complaints
from store.complaints import Summary

WITHIN: Final = timedelta(days=60)
WITHIN_M: Final = 1_000
MAX_SHOWN: Final = 5
_OF_A_CELL: Final = 40
_LIKELY_FROM: Final = 0.5
_METRES_A_DEGREE: Final = 111_195
_ROUND_M: Final = 50
_BY_CLASS, _BY_DISTANCE, _BY_TEXT, _BY_DAYS = 0.3, 0.25, 0.35, 0.1


class Likely(Struct, frozen=True):
    """A complaint that may be about the same matter.

    `score`: 0.5 to 1. `distance_m` is rounded to 50 m. `joined`: who has joined it, its owner not counted.
    `text`: the public text; None unless it was cleared for publication.
    """

    number: str
    score: float
    class_code: str | None
    distance_m: int
    submitted_on: date
    state: PublicState
    joined: int
    text: str | None = None


async def find(
    complaints: Complaints,
    publisher: Publisher,
    point: Point | None,
    division_code: str,
    class_code: str | None,
    text: str,
    *,
    now: datetime,
) -> list[Likely]:
    """List the open complaints nearby that are likely about the same matter, the likeliest first, at most 5.

    `point` is WGS-84; without one nothing is likely. Complaints of the last 60 days within 1 km count.
    """
    best = await rank(complaints, point, division_code, class_code, excerpt_of(text), now=now)
    return await _show(complaints, publisher, best[:MAX_SHOWN])


async def rank(
    complaints: Complaints,
    point: Point | None,
    division_code: str,
    class_code: str | None,
    excerpt: str,
    *,
    now: datetime,
) -> list[tuple[float, float, Summary]]:
    """Rank what `find` shows from: score, metres and complaint, the likeliest first, some hundred at most."""
    if point is None:
        return []
    cells = dict.fromkeys(
        cell_of(point, east=east, north=north) for east in (-1, 0, 1) for north in (-1, 0, 1)
    )
    since = f"{(now - WITHIN).astimezone(SHANGHAI):%y%m%d}"
    near = await complaints.store.list_near(cells, since, _OF_A_CELL)
    words = _words(excerpt)
    scored = [
        (score, distance, each)
        for each in near
        if each.standing.state not in ENDED | ANSWER_OUT
        and each.point is not None
        and (distance := distance_m(point, each.point)) <= WITHIN_M
        and (score := _score(each, division_code, class_code, words, distance, now)) >= _LIKELY_FROM
    ]
    return sorted(scored, key=lambda row: (-row[0], row[2].number))


def rounded_m(distance: float) -> int:
    """Round a distance to the 50 m to which it is shown."""
    return round(distance / _ROUND_M) * _ROUND_M


def distance_m(one: Point, other: Point) -> float:
    """Measure how far two near places are from one another, in metres."""
    east = (one.longitude - other.longitude) * math.cos(math.radians((one.latitude + other.latitude) / 2))
    return math.hypot(east, one.latitude - other.latitude) * _METRES_A_DEGREE


def _score(
    each: Summary, division_code: str, class_code: str | None, words: str, distance: float, now: datetime
) -> float:
    """Weigh class, distance, words and age; each part is 0 to 1, and so is the whole."""
    standing = each.standing
    by_class = 0.0
    if class_code is None or standing.class_code is None:
        by_class = 0.5  # nothing is known: it speaks neither for nor against
    elif class_code[:2] == standing.class_code[:2]:
        by_class = 1.0 if class_code == standing.class_code else 0.5
    days = max((now - standing.submitted_at) / WITHIN, 0.0)
    by_text = fuzz.token_ratio(words, _words(each.excerpt)) / 100 if words else 0.0
    score = (
        _BY_CLASS * by_class
        + _BY_DISTANCE * (1 - distance / WITHIN_M)
        + _BY_TEXT * by_text
        + _BY_DAYS * (1 - min(days, 1.0))
    )
    return round(score * (1.0 if standing.division_code == division_code else 0.95), 3)


def _words(text: str) -> str:
    """Bring a text to pairs of characters, which stand for words in Chinese."""
    plain = compact(fold(text))
    return " ".join(plain[at : at + 2] for at in range(len(plain) - 1)) or plain


async def _show(
    complaints: Complaints, publisher: Publisher, best: Sequence[tuple[float, float, Summary]]
) -> list[Likely]:
    ids = {
        each.number: await publisher.public_id(each.number)
        for _, _, each in best
        if each.standing.publication is Publication.CLEARED
    }
    public = await publisher.store.list_by_ids(ids.values())
    shown = []
    for score, distance, each in best:
        standing = each.standing
        seen = public.get(ids.get(each.number, ""))
        shown.append(
            Likely(
                number=each.number,
                score=score,
                class_code=standing.class_code,
                distance_m=rounded_m(distance),
                submitted_on=standing.submitted_at.astimezone(SHANGHAI).date(),
                state=public_state(standing.state),
                joined=await complaints.joins.count(each.number),
                text=seen.text if seen else None,
            )
        )
    return shown
