from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.settings_table import render_settings, without_password
from settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def mintong(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {key: value for key, value in os.environ.items() if not key.startswith("MINTONG_")}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env={**base, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command() -> None:
    result = mintong("--help")
    assert result.returncode == 0
    for command in ("run", "api", "feeds", "doctor", "settings", "import", "demo", "catalogue", "schema"):
        assert f"│ {command} " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("nope",), 2, "No such command 'nope'"),
        (("catalogue", "withdraw"), 2, "Missing argument"),
        (("demo", "catalogue", "--limit", "0"), 2, "--limit"),
        (("schema", "check", "/nonexistent/schema.graphql"), 1, "mintong schema export"),
    ],
)
def test_mistakes_are_explained(arguments: tuple[str, ...], status: int, message: str) -> None:
    result = mintong(*arguments)
    assert result.returncode == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_every_unusable_setting_is_named() -> None:
    result = mintong("settings", MINTONG_PORT="x", MINTONG_MAX_DEPTH="0")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "MINTONG_PORT: " in result.stderr
    assert "MINTONG_MAX_DEPTH: " in result.stderr


def test_engines_that_do_not_answer_cost_one_line() -> None:
    result = mintong(
        "catalogue",
        "status",
        MONGODB_URI="mongodb://127.0.0.1:9",
        REDIS_URL="redis://127.0.0.1:9",
        MINTONG_ENGINE_TIMEOUT_MS="300",
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: MongoDB: ")
    assert result.stderr.count("\n") == 1


def test_settings_page_is_current() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == render_settings(), "run: mintong settings --markdown > docs/settings.md"


def test_settings_command_hides_passwords() -> None:
    result = mintong("settings", MONGODB_URI="mongodb://u:secret@db/?x=1", REDIS_URL="redis://:secret@r/0")
    assert result.returncode == 0
    assert "secret" not in result.stdout
    assert "mongodb://***@db/?x=1" in result.stdout
    assert all(setting.upper() in result.stdout for setting in Settings.model_fields)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:p@ss@host", "redis://***@host"),
        ("mongodb://a:b@h1,h2/?replicaSet=r", "mongodb://***@h1,h2/?replicaSet=r"),
    ],
)
def test_password_is_hidden(address: str, shown: str) -> None:
    assert without_password(address) == shown
