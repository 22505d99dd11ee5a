"""Files into the store, each at most once, with a bar for whoever waits at a terminal. Called by `pushing`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from plumbline_api.artifact import ArtifactRef, MediaType
from plumbline_operator.cli.errors import CommandError
from plumbline_operator.cli.namedfiles import NamedFile
from plumbline_store import Store, StoreError, Told

__all__ = ["Source", "publish", "sources_of"]

Source = tuple[Path, MediaType]
"""A file or folder, however often it is named, and what it is published as."""


class _Bars:
    """One bar at a time; none where nobody looks. A context manager."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextmanager
    def during(self, what: str) -> Iterator[Told]:
        """A bar for the time of the block."""
        bar = self._progress.add_task(what, total=None)
        try:
            yield lambda done, total: self._progress.update(bar, completed=done, total=total)
        finally:
            self._progress.remove_task(bar)


def sources_of(files: Sequence[NamedFile], store: Store, console: Console) -> Mapping[Source, ArtifactRef]:
    """What each of the files is, by content; nothing is written.

    Raises:
        CommandError: One cannot be read or published; it names the manifest that names it.
    """
    found: dict[Source, ArtifactRef] = {}
    with _Bars(console) as bars:
        for file in files:
            source = source_of(file)
            if source not in found:
                with _naming(file), bars.during(f"reading {file.path}") as told:
                    found[source] = store.identify(file.at, file.media_type, told=told)
    return found


def publish(
    files: Sequence[NamedFile], identified: Mapping[Source, ArtifactRef], store: Store, console: Console
) -> Mapping[Source, ArtifactRef]:
    """Bring into the store what it lacks, read that back, and say what was done for each.

    Raises:
        CommandError: One cannot be published.
    """
    made: dict[Source, ArtifactRef] = {}
    with _Bars(console) as bars:
        for file in files:
            source = source_of(file)
            if source in made:
                continue
            ref, word = identified[source], "in the store already"
            if not store.has(ref.digest):
                with _naming(file), bars.during(f"uploading {file.path}") as told:
                    ref, word = store.import_path(file.at, file.media_type, told=told), "uploaded"
                    store.verify(ref.digest)
            made[source] = ref
            console.print(describe(file, ref, word), soft_wrap=True, markup=False)
    return made


def source_of(file: NamedFile) -> Source:
    """What a name stands for."""
    return file.at.absolute(), file.media_type


def describe(file: NamedFile, ref: ArtifactRef, word: str) -> str:
    """One line about a file."""
    return f"{file.kind} {file.path}: {ref.digest}, {decimal(ref.size)}, {word}"


@contextmanager
def _naming(file: NamedFile) -> Iterator[None]:
    """Say of what is wrong with a file who names it; what is wrong with the store tells itself."""
    try:
        yield
    except StoreError as error:
        if not Path(error.place).is_relative_to(file.at.absolute()):
            raise
        fact = f"{error.place}: {error.fact}"
        raise CommandError(file.place, fact, error.remedy, exit_code=error.exit_code) from error
