"""What every mutation gives back beside the changed object: refusals that a citizen can act upon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import strawberry
from strawberry.utils.str_converters import to_camel_case

from domain.access import AssuranceTooLowError, ForbiddenError, UnauthenticatedError
from domain.errors import DomainError
from loaders.reference import ReferenceUnavailableError

T = TypeVar("T")
_NOT_FOR_USERS = (UnauthenticatedError, ForbiddenError, AssuranceTooLowError, ReferenceUnavailableError)


@strawberry.type(description="Why a mutation changed nothing, for the person who asked.")
class UserError:
    """A refusal of a mutation; the message is in the language of the request."""

    code: str = strawberry.field(description="Stable code; decide by it, never by the words.")
    field: str | None = strawberry.field(
        description="The input field that is at fault; null when it is none in particular."
    )
    message: str = strawberry.field(description="What happened and what to do, for people.")
    retry_after_s: int | None = strawberry.field(
        default=None, description="Seconds after which it may be tried again; null when waiting is no help."
    )


async def refusable(
    work: Awaitable[T], word: Callable[[DomainError], str]
) -> tuple[T | None, list[UserError]]:
    """Run an operation: its result and no errors, or None and its refusal as `userErrors`.

    A param `field` of the refusal names the input field, in either spelling, `seconds` how long to wait. What
    is about who may do this or about this process, and whatever is no DomainError, stays an error of the
    request.
    """
    try:
        return await work, []
    except _NOT_FOR_USERS:
        raise
    except DomainError as error:
        field, seconds = error.params.get("field"), error.params.get("seconds")
        return None, [
            UserError(
                code=error.code,
                field=to_camel_case(field) if isinstance(field, str) else None,
                message=word(error),
                retry_after_s=int(seconds) if isinstance(seconds, int | float) else None,
            )
        ]
