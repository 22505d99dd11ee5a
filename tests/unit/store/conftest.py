"""A store in a fresh folder."""

from pathlib import Path

import pytest

from plumbline_store import FileStore, open_store


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return open_store(f"file://{tmp_path}/store")
