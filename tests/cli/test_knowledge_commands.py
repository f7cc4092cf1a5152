"""The knowledge base from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import _explain, app
from domain.errors import DomainError


def test_demo_export_import_due(
    mongodb_uri: str,
    redis_url: str,
    database_name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in (
        ("MONGODB_URI", mongodb_uri),
        ("REDIS_URL", redis_url),
        ("MINTONG_DATABASE", database_name),
    ):
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    assert "Guides: 3,247 new, 0 changed, 0 unchanged." in call("demo", "knowledge")
    file = tmp_path / "guides.jsonl"
    call("knowledge", "export", str(file))
    assert len(file.read_bytes().splitlines()) == 3_247
    assert "0 new, 0 changed, 3,247 unchanged" in call("knowledge", "import", str(file))
    assert "2026-11-01" in call("knowledge", "due", "--first", "3")
    file.write_text('{"id": "a", "question": "问"}\n', "utf-8")
    with pytest.raises(DomainError) as refused:
        call("knowledge", "import", str(file))
    assert _explain(refused.value)[1].startswith("Line 1, column *: Object missing required field `answer`")
