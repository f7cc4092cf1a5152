"""The chain of a history: every event is sealed over the one before, so that no past can be rewritten.

A seal is HMAC-SHA-256 under a secret of the installation: whoever can write to the database alone cannot make
one. Texts in people's own words are not in the chain, their salted digest is: they can be erased where the
law demands it, and what was erased can be told from what was changed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from domain.complaint_standing import Event, Standing, evolve
from domain.complaint_steps import TRANSITIONS

SALT_BYTES: Final = 16


def chain(key: bytes, previous: str, content: bytes) -> str:
    """Seal a content over the seal before it; `previous` of the first one names the thing itself. Hex."""
    return hmac.new(key, previous.encode() + b"\n" + content, hashlib.sha256).hexdigest()


def digest_of(texts: Mapping[str, str], salt: bytes) -> str:
    """Stand for texts without telling them; hex. Without its salt a digest cannot be tried out."""
    return hashlib.sha256(salt + msgspec.json.encode(texts, order="sorted")).hexdigest()


def seal(key: bytes, number: str, previous: Event | None, event: Event) -> Event:
    """Give an event with its seal, the first one over the complaint's number."""
    content = msgspec.json.encode(replace(event, hash=""), order="sorted")
    return replace(event, hash=chain(key, previous.hash if previous else number, content))


def faults_of(key: bytes, number: str, events: Sequence[Event], stored: Standing) -> list[str]:
    """Say what is wrong with a stored complaint: its chain, its order, its steps, what they amount to."""
    faults: list[str] = []
    previous: Event | None = None
    standing: Standing | None = None
    for index, event in enumerate(events):
        state = standing.state if standing else None
        if event.seq != index:
            faults.append(f"event {index}: has number {event.seq}")
        if seal(key, number, previous, event).hash != event.hash:
            faults.append(f"event {index}: its seal is broken")
        if TRANSITIONS.get((state, event.action, event.actor.role)) is not event.state:
            faults.append(f"event {index}: {event.action} does not lead from {state} to {event.state}")
        if previous is not None and event.at < previous.at:
            faults.append(f"event {index}: is older than the one before")
        standing, previous = evolve(standing, event), event
    if standing != stored:
        faults.append("the stored complaint is not what its events amount to")
    return faults
