"""The one family of errors that a client may read."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class UpstreamFailure(StrEnum):
    """Why another system did not do what it was asked."""

    TRANSIENT = "TRANSIENT"
    """Not now: it is away, busy or broken; the same call may succeed later."""
    PERMANENT = "PERMANENT"
    """Never in this form: the call, or how this installation is configured, has to change."""


class DomainError(Exception):
    """A refusal with a stable `code`; `params` fill the message that `api.errors` words in two languages.

    Params go to the client: never put personal data into them.
    """

    code: ClassVar[str] = "DOMAIN_ERROR"

    def __init__(self, **params: str | int | float) -> None:
        super().__init__(self.code, params)
        self.params = params

    def __str__(self) -> str:
        details = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.code}({details})"
