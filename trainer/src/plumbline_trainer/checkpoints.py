"""Sealed folders: a checkpoint or a finished model counts only if a seal written last names every file in it.

Used by the training loop and by `stage`. A seal lists size and sha256 of each file and the cache key of the run, so
that a folder cut short by a kill, altered since, or left by other orders is skipped and the one before it is used.
The optimiser's state inside a checkpoint is torch's own format; it is read back only after its seal was verified, and
by torch's weights-only reader, which builds tensors and plain values and runs no code.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["SEAL", "Checkpoint", "Seal", "complete_checkpoints", "read_seal", "remove_older", "seal"]

log = logging.getLogger(__name__)

SEAL: Final = "plumbline-seal.json"
PREFIX: Final = "checkpoint-"
KEPT: Final = 2
UNWANTED: Final = ("training_args.bin", "README.md")
"""Written by the libraries, never read by us: a pickle, and a model card with times in it."""


@dataclass(frozen=True)
class Seal:
    """What a complete folder consists of, and which run it belongs to."""

    cache_key: str
    step: int
    files: dict[str, tuple[int, str]]
    metrics: dict[str, float] = field(default_factory=dict)
    """The last numbers of the training, for the report."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint to resume from."""

    path: Path
    step: int


def seal(folder: Path, cache_key: str, step: int, metrics: dict[str, float] | None = None) -> None:
    """Sync every file and write the seal, last and atomically."""
    for name in UNWANTED:
        (folder / name).unlink(missing_ok=True)
    files = {str(at.relative_to(folder)): _look(at, sync=True) for at in _files(folder)}
    content = json.dumps(asdict(Seal(cache_key, step, files, metrics or {})), indent=1)
    scratch = folder / f".{SEAL}"
    with scratch.open("w", encoding="utf-8") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    scratch.rename(folder / SEAL)
    _sync_folder(folder)
    _sync_folder(folder.parent)


def read_seal(folder: Path, cache_key: str) -> Seal | None:
    """The seal of a folder that is exactly as it was sealed, for this run; otherwise None, with the reason logged."""
    if not folder.is_dir():
        return None
    found = _parse(folder / SEAL)
    if found is None:
        why = "it has no readable seal: writing it was cut short"
    elif found.cache_key != cache_key:
        why = "it belongs to other orders"
    else:
        present = {str(at.relative_to(folder)): _look(at) for at in _files(folder)}
        odd = sorted(name for name in present.keys() | found.files.keys() if present.get(name) != found.files.get(name))
        if not odd:
            return found
        why = f"{odd[0]} is truncated, altered or not part of it"
    log.warning("%s is skipped: %s", folder.name, why)
    return None


def complete_checkpoints(folder: Path, cache_key: str) -> tuple[Checkpoint, ...]:
    """The complete ones, the newest first; the others are removed, so that nothing is written into them."""
    complete = []
    for path in _checkpoints(folder):
        found = read_seal(path, cache_key)
        if found is None:
            shutil.rmtree(path)
        else:
            complete.append(Checkpoint(path, found.step))
    return tuple(complete)


def remove_older(folder: Path) -> None:
    """Keep the newest checkpoints; called after a new one was sealed."""
    for path in _checkpoints(folder)[KEPT:]:
        shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    """Folders named checkpoint-<step>, the newest first."""
    if not folder.is_dir():
        return []
    numbered = [path for path in folder.iterdir() if path.name.removeprefix(PREFIX).isdigit() and path.is_dir()]
    return sorted(numbered, key=lambda path: int(path.name.removeprefix(PREFIX)), reverse=True)


def _files(folder: Path) -> list[Path]:
    return sorted(at for at in folder.rglob("*") if at.is_file() and not at.name.endswith(SEAL))


def _look(path: Path, *, sync: bool = False) -> tuple[int, str]:
    """Size and sha256, after the content has reached the disk where that is asked for."""
    with path.open("rb") as content:
        if sync:
            os.fsync(content.fileno())
        return path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest()


def _parse(path: Path) -> Seal | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (int(size), str(digest)) for name, (size, digest) in data["files"].items()}
        return Seal(str(data["cache_key"]), int(data["step"]), files, dict(data["metrics"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
