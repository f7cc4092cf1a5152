"""`mintong schema`: the GraphQL schema as text, and the manifest of the trusted documents beside it."""

from __future__ import annotations

import difflib
from pathlib import Path

from strawberry.printer import print_schema

from api.documents import MANIFEST, OPERATIONS, build_manifest, write_manifest
from cli.resources import CommandError, console, output
from resolvers.schema import schema


def export_schema(path: Path | None) -> None:
    """Write the code's schema to a file and the manifest anew, or the schema to the standard output."""
    text = _render()
    if path is None:
        output.out(text, end="")
        return
    path.write_text(text, encoding="utf-8")
    console.print(f"Wrote {path}.")
    if write_manifest():
        console.print("Wrote the manifest of api/operations.")


def check_schema(path: Path) -> None:
    """Compare a file with the code's schema, and the manifest with the documents it names.

    Raises: CommandError, after printing the difference.
    """
    if (OPERATIONS / MANIFEST).read_bytes() != build_manifest():
        raise CommandError("The manifest of api/operations is out of date: run `mintong schema export`.")
    expected = _render()
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    if found == expected:
        console.print(f"{path} is up to date.")
        return
    difference = difflib.unified_diff(
        found.splitlines(), expected.splitlines(), str(path), "the code's schema", lineterm=""
    )
    for line in difference:
        output.out(line)
    raise CommandError(f"{path} differs from the code's schema: run `mintong schema export`.")


def _render() -> str:
    return print_schema(schema).rstrip() + "\n"
