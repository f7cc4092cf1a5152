"""Units and classes from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import _explain, app
from domain.errors import DomainError


@pytest.fixture
def run(mongodb_uri: str, redis_url: str, database_name: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in (
        ("MONGODB_URI", mongodb_uri),
        ("REDIS_URL", redis_url),
        ("MINTONG_DATABASE", database_name),
    ):
        monkeypatch.setenv(name, value)
    return CliRunner()


def test_demo_export_import(run: CliRunner, tmp_path: Path) -> None:
    def call(*arguments: str) -> str:
        result = run.invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    file = tmp_path / "units.csv"
    assert "2,697 new" in call("demo", "units")
    call("units", "export", str(file))
    text = file.read_text("utf-8")
    assert text.splitlines()[1].startswith("350000-12345,福建省12345便民服务平台,")
    assert call("units", "export") == text
    assert "2,697 unchanged; revision 1" in call("units", "import", str(file))
    lines = text.splitlines(keepends=True)
    file.write_text("".join([*lines[:-1], lines[-1].replace(",GOVERNMENT,", ",OFFICE,")]), "utf-8")
    with pytest.raises(DomainError) as refused:
        call("units", "import", str(file))
    assert _explain(refused.value) == (
        1,
        "Line 2698, column kind: is none of CENTRE, DEPARTMENT, GOVERNMENT, ENTERPRISE. "
        "Nothing was imported.",
    )
    file.write_text("".join(lines[:2]), "utf-8")
    with pytest.raises(DomainError, match="UNITS_SHRUNK"):
        call("units", "import", str(file))
    assert call("units", "export") == text


def test_classes_of_ones_own(run: CliRunner, tmp_path: Path) -> None:
    shipped = run.invoke(app, ["units", "export-classes"], catch_exceptions=False).output
    assert len(shipped.splitlines()) == 195
    file = tmp_path / "classes.csv"
    own = "code,parent,name,name_en,is_convenience,is_environmental,duty,keywords\n01,,一,,0,0,,\n"
    file.write_text(own, "utf-8")
    assert run.invoke(app, ["units", "import-classes", str(file)], catch_exceptions=False).exit_code == 0
    assert run.invoke(app, ["units", "export-classes"], catch_exceptions=False).output == own


def test_demo_units_are_refused_in_production(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTONG_ENVIRONMENT", "production")
    result = run.invoke(app, ["demo", "units"])
    assert result.exit_code == 1
