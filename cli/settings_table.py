"""`mintong settings`: every setting, its value now and its help; the source of docs/settings.md."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.resources import output, variable_name
from settings import Settings

_HEAD = """# Settings

Read from the environment when a process starts; `mintong settings` shows the values in use, `mintong doctor`
checks them. This page is made by `mintong settings --markdown`.

| variable | default | meaning | range |
|---|---|---|---|
"""


def show_settings(settings: Settings) -> None:
    """Print the settings in use; addresses are shown without their passwords."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("variable", "value", "meaning"):
        table.add_column(heading, overflow="fold")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        changed = value != field.get_default(call_default_factory=True)
        shown = without_password(value) if name in {"mongodb_uri", "redis_url"} and value else _show(value)
        table.add_row(
            variable_name(name), Text(shown, style="bold" if changed else ""), Text(field.description or "")
        )
    output.print(table)


def render_settings() -> str:
    """Return the settings' reference as Markdown."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = _show(field.get_default(call_default_factory=True))
        limits = ", ".join(_limits(field.metadata))
        shown = f"`{default}`" if default else ""
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(
            f"| `{variable_name(name)}` | {shown} | {meaning} | {limits.replace('|', chr(92) + '|')} |"
        )
    return _HEAD + "\n".join(rows) + "\n"


def without_password(address: str) -> str:
    """Hide the password, and whatever else stands before the @, of an address."""
    scheme, separator, rest = address.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{'***' if credentials else ''}{at}{host}"


def _show(value: Any) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def _limits(metadata: list[Any]) -> Iterator[str]:
    signs = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    for constraint in metadata:
        for attribute, text in signs.items():
            bound = getattr(constraint, attribute, None)
            if bound is not None:
                yield text.format(bound)
        pattern = getattr(constraint, "pattern", None)
        if pattern is not None:
            yield f"`{pattern}`"
