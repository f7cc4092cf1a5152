"""The npm client graphql-ws, as web pages and apps use it, against a live server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest
from websocket_harness import Sessions, serving

AUDIT = Path(__file__).with_name("live_audit")


@pytest.fixture(scope="session")
def client_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the client's node_modules, installed as the lock file says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js and npm")
    folder = tmp_path_factory.mktemp("live_audit")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(AUDIT / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if installed.returncode != 0:
        reason = f"npm cannot install the client: {installed.stderr.strip()[:500]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def test_the_client_graphql_ws_finds_the_protocol_kept(client_modules: Path, tmp_path: Path) -> None:
    with serving(tmp_path, Sessions(), live_init_s=1) as served:
        command = ["node", str(AUDIT / "run.mjs"), served.url, str(client_modules)]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    results = orjson.loads(finished.stdout)
    assert len(results) >= 28
    assert [f"{each['name']}: {each['reason']}" for each in results if each["status"] != "ok"] == []
