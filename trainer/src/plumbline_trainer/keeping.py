"""The newest checkpoint in the store as well, for a pod whose work folder ends with it.

Used by `stage`. Training does not wait for the copying: a checkpoint that comes while another is on its way takes the
place of those that wait. Where the store does not answer, training goes on without.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plumbline_store import Store, StoreError
from plumbline_trainer.checkpoints import complete_checkpoints

if TYPE_CHECKING:
    from plumbline_store.signing import SigningKey

__all__ = ["WAITING", "Keep", "fetch_checkpoint", "forget_checkpoint", "keep_nothing", "keeping"]

log = logging.getLogger(__name__)

Keep = Callable[[Path], None]
"""Takes a sealed checkpoint, which may be gone a moment later."""
WAITING: Final = "kept"
"""The folder, in the work folder, of checkpoints that are on their way."""


def keep_nothing(_: Path) -> None:
    """The work folder is enough."""


@contextmanager
def keeping(store: Store, cache_key: str, work: Path, signing: "SigningKey | None" = None) -> Iterator[Keep]:
    """Take checkpoints for as long as the block lasts; at its end the newest is in the store, if that answers."""
    keeper = _Keeper(store, cache_key, work / WAITING, signing)
    try:
        yield keeper.take
    finally:
        keeper.close()


def fetch_checkpoint(store: Store, cache_key: str, folder: Path) -> None:
    """Bring back what an attempt in another pod has left, unless there is something complete in the folder.

    Raises:
        StoreError: the store does not answer; hours of training are worth another try.
    """
    if complete_checkpoints(folder, cache_key):
        return
    found = store.drafts.restore(cache_key, folder)
    if found is not None:
        log.info("%s of an earlier attempt was in the store", found.name)


def forget_checkpoint(store: Store, cache_key: str) -> None:
    """Give back the space of a stage whose result is recorded."""
    try:
        store.drafts.remove(cache_key)
    except StoreError as error:
        log.warning("the last checkpoint stays in the store: %s", error)


class _Keeper:
    """Copies one checkpoint after the other, in a thread of its own."""

    def __init__(self, store: Store, cache_key: str, waiting: Path, signing: "SigningKey | None") -> None:
        self._store = store
        self._cache_key = cache_key
        self._signing = signing
        self._waiting = waiting
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._next: tuple[Future[None], Path] | None = None
        shutil.rmtree(waiting, ignore_errors=True)

    def take(self, checkpoint: Path) -> None:
        """Hold the checkpoint's files by a second name, so that they may be removed under the first."""
        held = self._waiting / checkpoint.name
        shutil.copytree(checkpoint, held, copy_function=os.link)
        if self._next is not None and self._next[0].cancel():
            shutil.rmtree(self._next[1])
        self._next = self._thread.submit(self._save, held), held

    def close(self) -> None:
        """Wait for the newest."""
        self._thread.shutdown()

    def _save(self, held: Path) -> None:
        try:
            self._store.drafts.save(self._cache_key, held, self._signing)
        except StoreError as error:
            log.warning("%s is kept in this pod alone: %s", held.name, error)
        finally:
            shutil.rmtree(held)
