"""Ids: Relay's global ones, opaque to clients; ids that sort by time; the shard of an account."""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

from domain.errors import DomainError


class InvalidNodeIdError(DomainError):
    """A text that is not the id of any object this API hands out."""

    code = "INVALID_ID"


def encode_node_id(type_name: str, raw_id: str) -> str:
    """Make the global id of an object: base64url without padding of `Type:raw id` in UTF-8."""
    return base64.urlsafe_b64encode(f"{type_name}:{raw_id}".encode()).rstrip(b"=").decode("ascii")


def decode_node_id(text: str) -> tuple[str, str]:
    """Take a global id apart into type name and raw id.

    Raises: InvalidNodeIdError.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        type_name, separator, raw_id = data.decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as error:
        raise InvalidNodeIdError(id=text[:80]) from error
    if not (separator and raw_id and type_name.isidentifier()):
        raise InvalidNodeIdError(id=text[:80])
    return type_name, raw_id


def raw_id_of(type_name: str, text: str) -> str:
    """Give the raw id behind a global id of the named type; a text of any other form is taken as a raw id.

    Clients keep row ids from links and QR codes of other systems, so both forms are accepted.
    """
    try:
        found_type, raw_id = decode_node_id(text)
    except InvalidNodeIdError:
        return text
    return raw_id if found_type == type_name else text


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SHARDS: Final = 4096
BUCKETS: Final = 4 * SHARDS


def new_id(now: datetime) -> str:
    """Make an id that sorts by time: 48 bits of milliseconds and 80 random ones, 26 characters of base 32."""
    number = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def floor_id(instant: datetime) -> str:
    """Give the text that sorts before every id made from this instant on, and after all before it."""
    number = max(0, int(instant.timestamp() * 1000)) << 80
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def time_of(id: str) -> datetime:
    """Give when an id that sorts by time was made, UTC, to the millisecond.

    Raises: InvalidNodeIdError for a text that is no such id.
    """
    if len(id) != 26 or id[0] > "7" or any(letter not in _CROCKFORD for letter in id):
        raise InvalidNodeIdError(id=id[:80])
    number = 0
    for letter in id:
        number = number << 5 | _CROCKFORD.index(letter)
    try:
        return datetime.fromtimestamp((number >> 80) / 1000, tz=UTC)
    except (ValueError, OverflowError) as error:  # beyond the year 9999
        raise InvalidNodeIdError(id=id[:80]) from error


def shard_of(account_id: str) -> int:
    """Give the shard of an account, 0 to 4095: the order in which a broadcast goes through its recipients."""
    return int.from_bytes(blake2b(account_id.encode(), digest_size=2).digest(), "big") % SHARDS


def bucket_of(account_id: str) -> int:
    """Give the bucket of an account, 0 to 16383: a quarter of its shard, in the order of the shards."""
    number = int.from_bytes(blake2b(account_id.encode(), digest_size=2).digest(), "big")
    return number % SHARDS * 4 + number // SHARDS % 4
