"""Where things lie in a store, for tests that look at or damage them."""

from pathlib import Path
from urllib.parse import urlsplit

from plumbline_store import FileStore

CONTENT = {"config.json": b"{}", "model.safetensors": b"weights" * 100, "tokenizer/vocab.json": b'{"a": 1}'}


def root(store: FileStore) -> Path:
    return Path(urlsplit(store.uri).path)


def blobs(store: FileStore) -> list[Path]:
    return sorted(path for path in (root(store) / "blobs").rglob("*") if path.is_file())


def manifests(store: FileStore) -> list[Path]:
    return sorted((root(store) / "manifests").rglob("*.json"))


def leftovers(store: FileStore) -> list[Path]:
    folder = root(store) / "tmp"
    return sorted(folder.iterdir()) if folder.exists() else []


def flip(path: Path, position: int = 0) -> None:
    """Damage one byte, as a bad disk would."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
