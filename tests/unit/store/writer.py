"""A real writer to kill, run beside others, or let run out of space: `python -m tests.unit.store.writer URI MODE`."""

import re
import resource
import sys
from pathlib import Path

from plumbline_api.artifact import MediaType
from plumbline_store import NoSpace, open_store


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def publish_forever(uri: str) -> None:
    """Publish one artifact after the other; a line is printed when one is complete."""
    store, number = open_store(uri), 0
    while True:
        number += 1
        files = {f"part-{part}": bytes([number % 256, part]) * 500_000 for part in range(4)}
        say(store.publish_bytes(files, MediaType.DATASET).digest)


def publish_same(uri: str) -> None:
    """Publish what the writers beside this one publish, too."""
    store = open_store(uri)
    for number in range(8):
        say(store.publish_bytes({"a": b"a" * 100_000, "b": b"%d" % number}, MediaType.DATASET).digest)


def publish_too_much(uri: str) -> None:
    """Try to publish 4 MB where a file may have 1 MB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        open_store(uri).publish_bytes({"a": b"small", "b": b"x" * 4_000_000}, MediaType.DATASET)
    except NoSpace as error:
        say(str(error))


def checkout_forever(uri: str, digest: str, folder: str) -> None:
    """Check an artifact out again and again."""
    store, number = open_store(uri), 0
    while True:
        number += 1
        say(str(store.checkout(digest, Path(folder) / str(number))))


def measure(uri: str, path: str) -> None:
    """Publish a file and read it back; how much memory (MiB) that took."""
    store = open_store(uri)
    store.verify(store.publish_bytes({"a": b"small"}, MediaType.DATASET).digest)
    before = most_memory()
    store.verify(store.publish(Path(path), MediaType.DATASET).digest)
    say(str(most_memory() - before))


def most_memory() -> int:
    """The most memory that this program has held, in MiB; what the program before it held does not count."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def main(uri: str, mode: str, *rest: str) -> None:
    """Do what the mode says."""
    match mode:
        case "forever":
            publish_forever(uri)
        case "same":
            publish_same(uri)
        case "too-much":
            publish_too_much(uri)
        case "measure":
            measure(uri, *rest)
        case "checkout":
            checkout_forever(uri, *rest)


if __name__ == "__main__":
    main(*sys.argv[1:])
