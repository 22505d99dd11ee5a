"""`make images`: builds what is asked for, one after the other, and writes down what came of it."""

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.build.builders import find_builder
from images.build.catalogue import choose
from images.build.errors import BuildError
from images.build.settings import Settings, pip_settings, read_commit, read_settings
from images.build.workshop import RECORDS, Workshop, say
from plumbline_api.names import ExitCode


def main(arguments: Sequence[str]) -> int:
    """Build; gives the exit code."""
    began = time.monotonic()
    try:
        settings = read_settings(arguments)
        build(settings)
    except BuildError as error:
        say(str(error))
        return error.code
    except KeyboardInterrupt:
        return 130
    say(f"done in {time.monotonic() - began:.0f} s; {settings.output / RECORDS} has names, digests and sizes")
    return ExitCode.OK


def build(settings: Settings) -> None:
    """Everything that the settings ask for."""
    plans = choose(settings.only)
    builder = find_builder(settings.builder)
    commit = read_commit(os.environ)
    with alone(settings.output), tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(settings, builder, commit, dict(pip_settings(Path(folder))))
        workshop.need_space(plans)
        bases = workshop.bases()
        for number, plan in enumerate(plans, 1):
            workshop.make(plan, bases, f"{number} of {len(plans)}")


@contextmanager
def alone(output: Path) -> Iterator[None]:
    """One build at a time in an output folder; the lock goes with the process."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another build is running in {output}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
