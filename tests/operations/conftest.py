"""A world to sign in to for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from account_world import Worlds


@pytest.fixture
def worlds(mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path) -> Worlds:
    """Runs work in a world with a database of its own."""
    return Worlds(mongodb_uri, redis_url, database_name, tmp_path)
