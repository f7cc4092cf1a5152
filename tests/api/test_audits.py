"""The specification's own audits, from the npm package graphql-http, against a live server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest
from api_harness import application, listening, settings_for

AUDIT = Path(__file__).with_name("audit")


@pytest.fixture(scope="session")
def audit_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the audits' node_modules, installed as the lock file says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js and npm")
    folder = tmp_path_factory.mktemp("audit")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(AUDIT / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if installed.returncode != 0:
        reason = f"npm cannot install the audits: {installed.stderr.strip()[:500]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def test_passes_every_audit(audit_modules: Path, tmp_path: Path) -> None:
    with listening(application(settings_for(tmp_path))) as url:
        command = ["node", str(AUDIT / "run.mjs"), f"{url}/graphql", str(audit_modules)]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    results = orjson.loads(finished.stdout)
    assert len(results) >= 60
    failed = [
        f"{result['id']} {result['name']}: {result['reason']}"
        for result in results
        if result["status"] != "ok"
    ]
    assert failed == []
