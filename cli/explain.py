"""`mintong explain`: run a query on the published catalogue and say how it was answered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from api.app import make_preparer
from api.compiled import CompiledOperation
from api.errors import RequestError, request_error_body
from api.execution import InvalidDocumentError, Operation
from api.resources import open_resources
from cli.resources import CommandError, open_addresses, output
from resolvers.context import Context
from resolvers.schema import schema
from settings import Settings


class NoViews:
    """Counts nothing: who explains a query looks at no item."""

    def count(self, item_id: str) -> None:
        """Pass over a view."""


async def explain(settings: Settings, file: Path, variables: str, operation: str | None) -> None:
    """Run the operation of a file twice, so that caches are warm, and print how the second run went.

    Raises: CommandError when the document, its variables or limits refuse it.
    """
    given = read_variables(variables)
    prepared = _prepare(settings, file, operation)
    async with open_addresses(settings) as (mongodb_uri, redis_url):
        addresses = {"mongodb_uri": mongodb_uri, "redis_url": redis_url}
        async with open_resources(settings.model_copy(update=addresses)) as resources:
            await resources.catalogue.refresh()
            context = Context(
                catalogue=resources.catalogue.current,
                catalogue_freshness=resources.catalogue.freshness,
                views=NoViews(),
                language="en",
                request_id="explain",
                now=datetime.now(UTC),
            )
            try:
                await prepared.execute(given, context, explain=True)
                outcome = await prepared.execute(given, context, explain=True)
            except RequestError as error:
                raise _refusal(request_error_body(error, "en", "explain")) from None
    answer = orjson.loads(outcome.body)
    shown: dict[str, Any] = {
        "explain": answer.get("extensions", {}).get("explain"),
        "bytes": len(outcome.body),
    }
    if answer.get("errors"):
        shown["errors"] = answer["errors"]
    output.out(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())


def show_source(settings: Settings, file: Path, variables: str, operation: str | None) -> None:
    """Print the Python that the engine writes for the operation of a file.

    Raises: CommandError.
    """
    given = read_variables(variables)
    prepared = _prepare(settings, file, operation)
    if not isinstance(prepared, CompiledOperation):
        raise CommandError("Compiled execution is off: MINTONG_COMPILED_EXECUTION.")
    output.out(prepared.source(given), end="")


def read_variables(text: str) -> dict[str, Any]:
    """Read variables given as a JSON object. Raises: CommandError."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"The variables are not JSON: {error}", code=2) from None
    if not isinstance(value, dict):
        raise CommandError("The variables must be a JSON object.", code=2)
    return value


def _prepare(settings: Settings, file: Path, operation: str | None) -> Operation:
    preparer = make_preparer(settings, schema, lambda _code: None)
    try:
        return preparer.prepare(file.read_text(encoding="utf-8"), operation)
    except RequestError as error:
        raise _refusal(request_error_body(error, "en", "explain")) from None
    except InvalidDocumentError as error:
        raise _refusal(error.body("en")) from None


def _refusal(body: dict[str, Any]) -> CommandError:
    return CommandError("; ".join(error["message"] for error in body["errors"]))
