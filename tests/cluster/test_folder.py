from pathlib import Path

import pytest

from tests.cluster.folder import owned_folder


def test_a_folder_goes_with_whatever_was_put_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = tmp_path / "kept"
    kept.mkdir()
    with owned_folder("some-") as folder:
        (folder / "deep/.hidden").mkdir(parents=True)
        (folder / ".file").touch()
        (folder / "link").symlink_to(kept)
    assert not folder.exists()
    assert kept.exists()


def test_a_folder_that_is_gone_already_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with owned_folder("some-") as folder:
        folder.rename(tmp_path / "elsewhere")
    assert not folder.exists()
