"""Relay's global ids: opaque to clients, one form for every type of the house."""

from __future__ import annotations

import base64
import binascii

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
